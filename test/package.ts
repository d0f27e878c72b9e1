import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { CreateTableCommandInput } from '@aws-sdk/client-dynamodb';
import { unzipSync } from 'fflate';
import { creatable } from '../local/tables.ts';
import { copyProject } from './project.ts';
import type { Mapping } from './shard-reader.ts';

export type FunctionName = 'webhook' | 'reply' | 'retry';

/** The output of `serverless package` for stage local, with the robot of test/robot.ts. */
export interface Package {
  readonly folder: string;
  /** The compiled CloudFormation template. */
  readonly template: Template;
}

interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
}

interface Resource {
  readonly Type: string;
  // biome-ignore lint/suspicious/noExplicitAny: each type has its own
  readonly Properties: any;
}

/** The package of the global set-up, or a new one where there is no such set-up. */
export async function packaged(): Promise<Package> {
  return packageIn(process.env.PACKAGE_FOLDER ?? (await makePackage()));
}

/** Reads a folder of {@link makePackage}. */
export async function packageIn(folder: string): Promise<Package> {
  const template = await readFile(join(folder, TEMPLATE), 'utf8');
  return { folder, template: JSON.parse(template) };
}

const TEMPLATE = 'cloudformation-template-update-stack.json';

/** For Vitest, as a global set-up: all tests share this package. */
export default async function setup(): Promise<() => Promise<void>> {
  const folder = await makePackage();
  process.env.PACKAGE_FOLDER = folder;
  return () => rm(folder, { recursive: true, force: true });
}

/**
 * Packages the project.
 *
 * @param robot the source of its robot/robot.ts, if not that of test/robot.ts
 * @param files further files of the project, by their paths
 * @returns a folder to delete in the end
 */
export async function makePackage(
  robot?: string,
  files: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vvchat-robot-package-'));
  await using project = await copyProject();
  if (robot !== undefined) await project.write('robot/robot.ts', robot);
  for (const [file, text] of Object.entries(files)) await project.write(file, text);
  const run = project.start(['serverless', 'package', '--package', folder]);
  if ((await run.ends()) !== 0) throw new Error(run.output());
  for (const zip of (await readdir(folder)).filter((name) => name.endsWith('.zip'))) {
    const name = zip.replace('.zip', '');
    const files = unzipSync(await readFile(join(folder, zip)));
    for (const [file, content] of Object.entries(files)) {
      const path = join(folder, name, file);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
    }
  }
  return folder;
}

/** The file that has a function's handler. */
export const handlerFile = ({ folder }: Package, name: FunctionName): string =>
  join(folder, name, 'functions', `${name}.cjs`);

const propertiesOf = ({ template }: Package, name: FunctionName) =>
  template.Resources[`${name[0]?.toUpperCase()}${name.slice(1)}LambdaFunction`]?.Properties;

/** The mapping by which `reply` gets the inbox table's stream. */
export const mappingIn = ({ template }: Package): Mapping =>
  Object.values(template.Resources).find(({ Type }) => Type === 'AWS::Lambda::EventSourceMapping')
    ?.Properties;

/** The environment variables of a function. */
export const environmentOf = (it: Package, name: FunctionName): Record<string, string> =>
  propertiesOf(it, name).Environment.Variables;

/** The time-out of a function in milliseconds. */
export const timeoutOf = (it: Package, name: FunctionName): number =>
  propertiesOf(it, name).Timeout * 1_000;

/** The tables as `CreateTable` takes them: with their streams, and without what has a call of its own. */
export const tablesIn = ({ template }: Package): CreateTableCommandInput[] =>
  Object.values(template.Resources)
    .filter(({ Type }) => Type === 'AWS::DynamoDB::Table')
    .map(({ Properties }) => {
      const { StreamSpecification, ...table } = creatable(Properties);
      return {
        ...table,
        ...(StreamSpecification && {
          StreamSpecification: { ...StreamSpecification, StreamEnabled: true },
        }),
      };
    });
