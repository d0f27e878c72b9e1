import { useSignal } from '@preact/signals';
import type { Chat } from '../state.ts';
import { useFocus } from './focus.ts';
import { t } from './language.ts';
import { act, chat, chats, lastLines, openChat, robotName, showChat, view } from './store.ts';

/** The groups and one-to-one chats to choose from. */
export function ChatList() {
  const groups = chats.value.filter(({ session_type }) => session_type === '2');
  const oneToOne = chats.value.filter(({ session_type }) => session_type === '1');
  return (
    <section class="chats" aria-label={t().views.chats}>
      <h2>{t().groups}</h2>
      <List chats={groups} />
      <NewGroup />
      <h2>{t().oneToOne}</h2>
      <List chats={oneToOne} />
    </section>
  );
}

const List = (props: { chats: readonly Chat[] }) => (
  <ul>
    {props.chats.map((it) => (
      <li key={it.id}>
        <button
          type="button"
          aria-current={it.id === chat.value?.id ? 'true' : undefined}
          onClick={() => openChat(it)}
        >
          <Avatar name={nameOf(it)} isRobot={it.session_type === '1'} />
          <span class="about">
            <strong>{nameOf(it)}</strong>
            <span class="last">{lastLines.value.get(it.id)?.text ?? aboutRobots(it)}</span>
          </span>
        </button>
      </li>
    ))}
  </ul>
);

const aboutRobots = ({ session_type, robots }: Chat): string =>
  session_type === '1' ? robots.join() : robots.map(robotName).join(', ') || t().noRobots;

export const nameOf = ({ session_type, name, robots }: Chat): string =>
  session_type === '1' ? robotName(robots[0]) : name;

/** The first character of a name, in the name's colour. */
export function Avatar({ name, isRobot = false }: { name: string; isRobot?: boolean }) {
  const hue = [...name].reduce((sum, it) => sum + (it.codePointAt(0) ?? 0), 0) % 6;
  return (
    <span class={`avatar hue-${hue}${isRobot ? ' robot' : ''}`} aria-hidden="true">
      {[...name][0]}
    </span>
  );
}

function NewGroup() {
  const isOpen = useSignal(false);
  const wasOpen = useSignal(false);
  const close = () => {
    isOpen.value = false;
    wasOpen.value = true;
  };
  return isOpen.value ? (
    <GroupForm onClose={close} />
  ) : (
    <NewGroupButton isFocused={wasOpen.value} onClick={() => (isOpen.value = true)} />
  );
}

const NewGroupButton = (props: { isFocused: boolean; onClick: () => void }) => (
  <button
    type="button"
    class="new-group"
    ref={useFocus<HTMLButtonElement>(props.isFocused)}
    onClick={props.onClick}
  >
    + {t().newGroup}
  </button>
);

function GroupForm({ onClose }: { onClose: () => void }) {
  const name = useSignal('');
  const create = async (event: Event) => {
    event.preventDefault();
    if (!name.value.trim()) return;
    const created = await act<Chat>('create', { name: name.value.trim() });
    if (!created) return;
    onClose();
    showChat(created.id);
    view.value = 'chat';
  };
  return (
    <form class="new-group" onSubmit={create}>
      <input
        aria-label={t().groupName}
        placeholder={t().groupName}
        maxLength={100}
        value={name.value}
        ref={useFocus<HTMLInputElement>()}
        onInput={(e) => (name.value = e.currentTarget.value)}
        onKeyDown={(e) => e.key === 'Escape' && !e.isComposing && onClose()}
      />
      <button type="submit">{t().create}</button>
    </form>
  );
}
