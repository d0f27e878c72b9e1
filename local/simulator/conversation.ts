import { commandOf, type ReceivedCommand } from './robot-api.ts';

/** One line about a command, for the terminal. */
export function describe(received: ReceivedCommand): string {
  const { robot_no, message } = received;
  const place = message.session_type === '2' ? 'group' : 'chat with';
  return `${place} ${message.session_open_id}  ◀ ${robot_no}: ${textOf(received)}`;
}

function textOf(received: ReceivedCommand): string {
  const command = commandOf(received);
  if (command.cmd === 'send-text') return command.params.text;
  const details = Object.entries(received.params).map(([name, value]) => `${name} ${value}`);
  return `[${[command.cmd, ...details].join(', ')}]`;
}
