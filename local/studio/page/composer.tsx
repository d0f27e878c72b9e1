import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { Chat, RobotAccount } from '../state.ts';
import { t } from './language.ts';
import { act, drafts, lines, person, state } from './store.ts';

/** The message field. `@` completes the names of robots, Enter sends. */
export function Composer({ chat }: { chat: Chat }) {
  const text = useSignal(drafts.get(chat.id) ?? '');
  const caret = useSignal(0);
  const chosen = useSignal(0);
  const isClosed = useSignal(false);
  const keepMentions = useSignal(false);
  const input = useRef<HTMLInputElement>(null);

  const isGroup = chat.session_type === '2';
  const robots = chat.robots.flatMap((robot_no) => state.value.robots.get(robot_no) ?? []);
  const begun = isGroup && !isClosed.value ? begunMention(text.value, caret.value) : undefined;
  const offered = begun ? robots.filter((it) => isMeant(it, begun.part)) : [];
  const isOpen = offered.length > 0;

  const write = (it: string) => {
    text.value = it;
    drafts.set(chat.id, it);
  };
  const send = async (it: string) => {
    write('');
    input.current?.focus();
    const sent = await act('send', {
      chat: chat.id,
      person: person.value?.open_id,
      text: it,
      keepMentions: keepMentions.value,
    });
    // A message that failed can be sent again.
    if (!sent && text.value === '') write(it);
  };
  const complete = ({ name }: RobotAccount) => {
    if (!begun || !input.current) return;
    const before = `${text.value.slice(0, begun.from)}@${name} `;
    write(before + text.value.slice(caret.value));
    caret.value = before.length;
    chosen.value = 0;
    const { current } = input;
    current.value = text.value;
    current.focus();
    current.setSelectionRange(before.length, before.length);
  };
  const typed = () => {
    const { current } = input;
    if (!current) return;
    if (current.value !== text.value) chosen.value = 0;
    write(current.value);
    caret.value = current.selectionStart ?? 0;
    isClosed.value = false;
  };
  const moved = () => {
    caret.value = input.current?.selectionStart ?? 0;
  };
  const pressed = (event: KeyboardEvent) => {
    moved();
    // While an input method is composing, Enter confirms a word.
    if (event.isComposing || event.keyCode === 229) return;
    const robot = offered[chosen.value];
    if (isOpen && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      const step = event.key === 'ArrowDown' ? 1 : -1;
      chosen.value = (chosen.value + step + offered.length) % offered.length;
    } else if (isOpen && event.key === 'Escape') isClosed.value = true;
    else if (robot && (event.key === 'Enter' || (event.key === 'Tab' && !event.shiftKey))) {
      complete(robot);
    } else if (event.key === 'Enter' && text.value.trim()) void send(text.value);
    else return;
    event.preventDefault();
  };

  const [first] = robots;
  const example = first && (isGroup ? `@${first.name} ${t().hello}` : t().hello);
  return (
    <div class="composer">
      {example && lines.value.every(({ kind }) => kind !== 'message') && (
        <p class="try">
          {t().tryIt}{' '}
          <button type="button" onClick={() => void send(example)}>
            {example}
          </button>
        </p>
      )}
      {isOpen && (
        <ul role="listbox" id="robots" aria-label={t().robotsHere}>
          {offered.map((robot, i) => (
            <li
              key={robot.robot_no}
              role="option"
              id={`robot-${i}`}
              aria-selected={i === chosen.value}
              // Keeps the focus in the input.
              onMouseDown={(event) => {
                event.preventDefault();
                complete(robot);
              }}
            >
              @{robot.name} <small>{robot.robot_no}</small>
            </li>
          ))}
        </ul>
      )}
      <div class="row">
        <input
          ref={input}
          role="combobox"
          aria-label={t().message}
          aria-autocomplete="list"
          aria-expanded={isOpen}
          aria-controls={isOpen ? 'robots' : undefined}
          aria-activedescendant={isOpen ? `robot-${chosen.value}` : undefined}
          placeholder={isGroup ? t().mentionHint : t().plainHint}
          autocomplete="off"
          enterkeyhint="send"
          value={text.value}
          onInput={typed}
          onKeyUp={moved}
          onClick={moved}
          onBlur={() => (isClosed.value = true)}
          onKeyDown={pressed}
        />
        <button type="button" disabled={!text.value.trim()} onClick={() => void send(text.value)}>
          {t().send}
        </button>
      </div>
      {isGroup && (
        <label class="keep" title={t().keepMentionsHint}>
          <input
            type="checkbox"
            checked={keepMentions.value}
            onChange={(e) => (keepMentions.value = e.currentTarget.checked)}
          />
          {t().keepMentions}
        </label>
      )}
    </div>
  );
}

/** The `@` before the caret and the part of a name behind it, if there is one. */
function begunMention(text: string, caret: number): { from: number; part: string } | undefined {
  const match = /@([^\s@]*)$/u.exec(text.slice(0, caret));
  return match ? { from: match.index, part: match[1] ?? '' } : undefined;
}

const isMeant = ({ name, robot_no }: RobotAccount, part: string): boolean =>
  [name, robot_no].some((it) => it.toLowerCase().startsWith(part.toLowerCase()));
