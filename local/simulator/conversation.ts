import type { Carried } from './robot-api.ts';

/** A line of what a robot had VVChat do. */
export function describe({ robot_no, message, params }: Carried): string {
  const place = message.session_type === '2' ? 'group' : 'chat with';
  return `${place} ${message.session_open_id}  ◀ ${robot_no}: ${did(message.content.cmd, params)}`;
}

function did(cmd: Carried['message']['content']['cmd'], params: Carried['params']): string {
  if (cmd === 'send-text') return params.text ?? '';
  const details = Object.entries(params).map(([name, value]) => `${name} ${value}`);
  return `[${[cmd, ...details].join(', ')}]`;
}
