import { once } from 'node:events';
import { OfflineError } from './offline/offline.ts';
import { checkPorts, configuredPorts, PortError, SERVERS } from './ports.ts';
import { describe } from './simulator/conversation.ts';
import { type Stack, startStack, WEBHOOK_PATH } from './stack.ts';
import { printVisibly } from './terminal.ts';

/** `npm start`: the robot on this machine, until Ctrl-C. */
async function start(): Promise<number> {
  try {
    process.loadEnvFile();
  } catch {
    // .env is optional.
  }
  const ports = configuredPorts(process.env);
  await checkPorts(ports);
  const signal = signalled();
  const began = performance.now();
  let isReady = false;
  console.log('Starting the robot on this machine …\n');
  const stack = await startStack({
    ports,
    signal,
    onReady: (server, url) => console.log(`  ✓ ${SERVERS[server].title.padEnd(20)} ${url}`),
    onCommand: (command) => console.log(describe(command)),
    onLine: (line) => isReady && console.log(`    ${line}`),
  }).catch((error) => {
    if (!signal.aborted) throw error;
  });
  if (!stack) return 0;
  isReady = true;
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  console.log(`\nReady in ${seconds} s. ${firstSteps(stack)}\n`);
  try {
    if (!signal.aborted) await Promise.race([once(signal, 'abort'), stack.broken]);
    console.log('\nStopping …');
    return 0;
  } finally {
    await stack.stop();
  }
}

function signalled(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop.abort());
  return stop.signal;
}

const firstSteps = ({ url }: Stack) => `Open ${url('vvchat')} and talk to the robot.

Or, in another terminal:

  curl -H 'Content-Type: application/json' -d '{"event":"at","version":"v1","data":{"content":{"text":"您好"},"robot":{"app_id":"test","open_id":"robot-1","robot_no":"xds2323"},"session":{"session_open_id":"group-1","session_type":"2"},"trigger":{"open_id":"person-1","target":"user"}}}' '${url('http')}${WEBHOOK_PATH}'
  npx serverless invoke local -f webhook -p events/at.json

Edit robot/robot.ts and save: the next message gets the new reply. Ctrl-C stops everything.`;

printVisibly();
const exitCode = await start().catch((error: unknown) => {
  console.error(
    error instanceof PortError || error instanceof OfflineError ? error.message : error,
  );
  return 1;
});
// Everything is closed by now, but sockets that linger could keep Node running.
process.exit(exitCode);
