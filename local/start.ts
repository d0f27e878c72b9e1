import { checkPorts, configuredPorts, PortError, SERVERS } from './ports.ts';
import { describe } from './simulator/conversation.ts';
import { type Stack, startStack, WEBHOOK_PATH } from './stack.ts';

/** `npm start`: the robot on this machine, until Ctrl-C. */
async function start(): Promise<number> {
  try {
    process.loadEnvFile();
  } catch {
    // There need not be a .env.
  }
  const ports = configuredPorts(process.env);
  await checkPorts(ports);
  const ended = signalled();
  const began = performance.now();
  let isReady = false;
  console.log('Starting the robot on this machine …\n');
  const stack = await startStack({
    ports,
    onReady: (server, url) => console.log(`  ✓ ${SERVERS[server].title.padEnd(20)} ${url}`),
    onCarried: (carried) => console.log(describe(carried)),
    onLine: (line) => isReady && printLine(line),
  });
  isReady = true;
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  console.log(`\nReady in ${seconds} s. ${whatToTry(stack)}\n`);
  try {
    await Promise.race([ended, stack.broken]);
    console.log('\nEnding …');
    return 0;
  } finally {
    await stack.stop();
  }
}

const signalled = () =>
  new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => resolve());
  });

const whatToTry = ({ url }: Stack) => `Try, in another terminal:

  curl -H 'Content-Type: application/json' -d '{"event":"at","version":"v1","data":{"content":{"text":"您好"},"robot":{"app_id":"test","open_id":"robot-1","robot_no":"xds2323"},"session":{"session_open_id":"group-1","session_type":"2"},"trigger":{"open_id":"person-1","target":"user"}}}' '${url('http')}${WEBHOOK_PATH}'
  npx serverless invoke local -f webhook -p events/at.json

What the robot says appears here. Change lib/robot.ts and save: the next message is answered by it.
The tables: ${url('dynamodbAdmin')}. Ctrl-C ends all of this.`;

/** The functions' own lines; what serverless-offline tells of every invocation is noise. */
function printLine(line: string): void {
  if (line.trim() !== '' && !/^\(λ: \w+\) RequestId/.test(line)) console.log(`    ${line}`);
}

process.exitCode = await start().catch((error: unknown) => {
  console.error(error instanceof PortError ? error.message : error);
  return 1;
});
