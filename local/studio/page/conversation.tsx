import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { Chat, Line, RobotAccount } from '../state.ts';
import { Avatar, nameOf } from './chat-list.tsx';
import { Composer } from './composer.tsx';
import { t } from './language.ts';
import { act, chat, lines, openChat, person, personName, robotName, state } from './store.ts';
import { WebviewPanel } from './webview.tsx';

/** The current chat: its robots, its web view, its lines and the message field. */
export function Conversation() {
  const it = chat.value;
  if (!it) return <main class="conversation" />;
  return (
    <main class="conversation" key={it.id}>
      <Head chat={it} />
      <div class="stage">
        {it.webview && <WebviewPanel key={it.webview.load} webview={it.webview} />}
        <Lines chat={it} />
      </div>
      <Composer chat={it} />
    </main>
  );
}

function Head({ chat: it }: { chat: Chat }) {
  const others = [...state.value.robots.values()].filter(
    ({ robot_no, open_id }) => open_id !== '' && !it.robots.includes(robot_no),
  );
  const isGroup = it.session_type === '2';
  return (
    <div class="head">
      <h2>{nameOf(it)}</h2>
      {isGroup && (
        <>
          <p>
            {t().robotsHere} {it.robots.map(robotName).join(', ') || t().noRobots}
          </p>
          <div class="tools">
            {others.length > 0 && <AddRobot chat={it} robots={others} />}
            <button type="button" title={t().reopenHint} onClick={() => openChat(it)}>
              {t().reopen}
            </button>
          </div>
        </>
      )}
    </div>
  );
}

/** Choosing and adding are two steps, because moving through a list by keyboard already chooses. */
function AddRobot({ chat: it, robots }: { chat: Chat; robots: readonly RobotAccount[] }) {
  const chosen = useSignal(robots[0]?.robot_no);
  const robot_no = robots.some((robot) => robot.robot_no === chosen.value)
    ? chosen.value
    : robots[0]?.robot_no;
  return (
    <form
      class="tools"
      onSubmit={(event) => {
        event.preventDefault();
        void act('join', { chat: it.id, robot_no, person: person.value?.open_id });
      }}
    >
      <select
        aria-label={t().robot}
        value={robot_no}
        onChange={(e) => (chosen.value = e.currentTarget.value)}
      >
        {robots.map((robot) => (
          <option key={robot.robot_no} value={robot.robot_no}>
            {robot.name}
          </option>
        ))}
      </select>
      <button type="submit">+ {t().addRobot}</button>
    </form>
  );
}

function Lines({ chat: it }: { chat: Chat }) {
  const list = useRef<HTMLDivElement>(null);
  const isAtEnd = useSignal(true);
  const count = lines.value.length;
  useLayoutEffect(() => {
    const { current } = list;
    if (current && isAtEnd.peek()) current.scrollTop = current.scrollHeight;
  }, [count, it.webview]);
  return (
    <div
      class="lines"
      role="log"
      aria-label={t().messages}
      tabIndex={0}
      ref={list}
      onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
        isAtEnd.value = scrollHeight - scrollTop - clientHeight < 40;
      }}
    >
      {lines.value.map((line) => (
        <LineView key={line.id} line={line} />
      ))}
    </div>
  );
}

function LineView({ line }: { line: Line }) {
  const { kind, text = '', robot_no } = line;
  const by = line.person === undefined ? robotName(robot_no) : personName(line.person);
  switch (kind) {
    case 'message':
    case 'message-without-mention':
    case 'send-text':
      return <Message line={line} by={by} />;
    case 'joined':
      return <Note>{t().notes[kind](by, robotName(robot_no))}</Note>;
    default:
      return <Note>{t().notes[kind](by, text)}</Note>;
  }
}

function Message({ line, by }: { line: Line; by: string }) {
  const isRobot = line.person === undefined;
  const isMine = !isRobot && line.person === person.value?.open_id;
  return (
    <div class={`line${isMine ? ' mine' : ''}`} data-by={by}>
      <Avatar name={by} isRobot={isRobot} />
      <div>
        <div class="by">
          {by}
          {isRobot && <span class="tag">{t().robot}</span>}
          <time dateTime={new Date(line.at).toISOString()}>{clockOf(line.at)}</time>
        </div>
        <p class="bubble">{line.text}</p>
        {line.kind === 'message-without-mention' && <Note>{t().noMention}</Note>}
      </div>
    </div>
  );
}

const Note = ({ children }: { children: string }) => <p class="note">{children}</p>;

/** A time of day, in the page's only format. */
export const clockOf = (at: number): string =>
  new Date(at).toLocaleTimeString('en-GB', { hour12: false });
