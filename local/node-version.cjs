// Plain JavaScript for old versions: from 22.18 on Node runs TypeScript as it is.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `Node ${process.versions.node} is too old: this needs 22.18 or later, best 24.\n` +
      'Run `npm ci`, which installs Node 24 for the npm commands, or install it from https://nodejs.org.',
  );
  process.exit(1);
}
