import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** The stage that runs on this machine. */
export const STAGE = 'local';

const serverlessYml = readFileSync(new URL('../serverless.yml', import.meta.url), 'utf8');

/** The name of the service in serverless.yml, with which all names on AWS begin. */
export const serviceName: string = parse(serverlessYml, { logLevel: 'silent' }).service;

/** The full name of a table or a function. */
export const nameOf = (part: string, stage = STAGE) => `${serviceName}-${stage}-${part}`;
