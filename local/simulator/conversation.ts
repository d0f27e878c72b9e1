import { commandOf, type ReceivedCommand } from './robot-api.ts';

/** A line about a command, for the terminal; those of its text begin with spaces, so that none looks like another. */
export function describe(received: ReceivedCommand): string {
  const { robot_no, message } = received;
  const place = message.session_type === '2' ? 'group' : 'chat with';
  return `${place} ${message.session_open_id}  ◀ ${robot_no}: ${textOf(received)}`;
}

function textOf(received: ReceivedCommand): string {
  const command = commandOf(received);
  if (command.cmd === 'send-text') return command.params.text.replaceAll('\n', '\n    ');
  const details = Object.entries(received.params).map(([name, value]) => `${name} ${value}`);
  return `[${[command.cmd, ...details].join(', ')}]`;
}
