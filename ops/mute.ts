import { iso } from '../lib/aws/table.ts';
import { endMute, isInForce, MAX_MUTES, type Muted, mute, readMutes } from '../lib/mute.ts';
import {
  createCommand,
  duration,
  id,
  type Options,
  printNote,
  printRows,
  run,
  UsageError,
} from './command-line.ts';
import { tableOf } from './tables.ts';

/*
 * `npm run mute`: lists what is muted; mutes a session or an app; ends a mute.
 */

interface MuteOptions extends Options {
  readonly session?: string;
  readonly app?: string;
  readonly for?: number;
  readonly end: boolean;
}

const command = createCommand('mute', 'Records the events of a session or an app without replying')
  .option('--session <open_id>', 'a group, or a one-to-one chat by the id of its person', id)
  .option('--app <app_id>', 'all sessions of an app', id)
  .option('--for <period>', 'for so long, such as 30m, 2h or 1d; without it, until --end', duration)
  .option('--end', 'reply again', false)
  .addHelpText('after', '\nWithout --session and --app it lists what is muted.');

await run(command, async () => {
  const options = command.opts<MuteOptions>();
  const table = tableOf('mutes', options);
  const target = targetOf(options);
  const inForce = (await readMutes(table)).filter((it) => isInForce(it, table.now()));
  if (!target) {
    printRows(inForce, options);
    if (inForce.length === 0) printNote('Nothing is muted.');
    return;
  }
  if (options.end) {
    const wasMuted = await endMute(table, target);
    printNote(wasMuted ? 'Unmuted. Replies begin again within a minute.' : 'It was not muted.');
    return;
  }
  if (inForce.length >= MAX_MUTES) throw new UsageError(`At most ${MAX_MUTES} can be muted.`);
  await mute(table, target, options.for);
  const until =
    options.for === undefined ? 'until --end' : `until ${iso(table.now() + options.for)}`;
  printNote(`Muted ${until}. Replies stop within a minute; events are still recorded.`);
});

function targetOf({ session, app, end, for: forMs }: MuteOptions): Muted | undefined {
  if (session !== undefined && app !== undefined) {
    throw new UsageError('Give either --session or --app.');
  }
  if (end && forMs !== undefined) throw new UsageError('Give either --for or --end.');
  if (session !== undefined) return { kind: 'session', id: session };
  if (app !== undefined) return { kind: 'app', id: app };
  if (end || forMs !== undefined) throw new UsageError('Give --session or --app.');
  return undefined;
}
