/*
 * The parts of a Lambda container that cost time. `node container.cjs BUNDLE EVENT` loads a handler, invokes it with
 * one event, writes the times to file descriptor 3, and exits. `node container.cjs BUNDLE` keeps running, and
 * receives lists of events from its parent.
 */
const fs = require('node:fs');

const [, , bundle, eventFile] = process.argv;
const context = {
  functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
  awsRequestId: '8f507cfc-xmpl-4697-b07a-ac58fc914c95',
  getRemainingTimeInMillis: () => 10_000,
};

// Lambda's runtime does so before it loads a handler, when the log format is JSON.
const log = fs.openSync('/dev/null', 'a');
for (const level of ['log', 'info', 'warn', 'error']) {
  console[level] = (message) => {
    const line = {
      timestamp: new Date().toISOString(),
      level: level === 'log' ? 'INFO' : level.toUpperCase(),
      requestId: context.awsRequestId,
      message,
    };
    fs.writeSync(log, `${JSON.stringify(line)}\n`);
  };
}

const cpuMs = (since) => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1_000;
};

if (eventFile === undefined) keepWarm();
else beCold();

async function beCold() {
  const event = JSON.parse(fs.readFileSync(eventFile, 'utf8'));
  const began = performance.now();
  const { handler } = require(bundle);
  const loaded = performance.now();
  const { statusCode: status, body } = await handler(event, context);
  const answered = performance.now();
  const result = {
    status,
    body,
    loadMs: loaded - began,
    firstMs: answered - loaded,
    cpuMs: cpuMs(),
  };
  fs.writeSync(3, JSON.stringify(result));
  process.exit(0);
}

function keepWarm() {
  const { handler } = require(bundle);
  process.on('message', async (events) => {
    const before = process.cpuUsage();
    const began = performance.now();
    for (const event of events) {
      const { statusCode, body } = await handler(event, context);
      if (statusCode !== 200) throw new Error(`${statusCode}: ${body}`);
    }
    const wallMs = performance.now() - began;
    process.send({ wallMs, cpuMs: cpuMs(before) });
  });
  process.send('ready');
}
