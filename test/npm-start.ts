import { DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { fromAttributes, type Row, toAttributes } from '../lib/aws/table.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { nameOf } from '../local/names.ts';
import type { ServerName } from '../local/ports.ts';
import { documented } from './fixtures.ts';
import { copyProject, type Project, type Run, until } from './project.ts';

/** A copy of the project in which `npm start` runs. */
export interface Running extends AsyncDisposable {
  readonly project: Project;
  readonly run: Run;
  readonly client: DynamoDBClient;
  readonly url: (server: ServerName) => string;
  /** Posts an event to the webhook. */
  readonly post: (event: Event) => Promise<{ status: number; body: Record<string, string> }>;
  /** Waits until a row of the inbox is replied to. */
  readonly replied: (
    event_id: string | undefined,
    milliseconds?: number,
    event?: Event,
  ) => Promise<Row>;
  /** Waits until an event gets this text in reply; every attempt posts the event anew. */
  readonly answersWith: (text: string, event: () => Event) => Promise<void>;
}

/** What a developer may have set for other work. */
const DEVELOPERS_OWN = {
  AWS_PROFILE: 'work',
  AWS_REGION: 'eu-west-1',
  AWS_ENDPOINT_URL_DYNAMODB: 'http://127.0.0.1:1',
};

/** Copies the project, and starts it as a developer does. */
export async function npmStart(env: Record<string, string> = {}): Promise<Running> {
  const project = await copyProject();
  const run = project.start(['npm', 'start'], { ...DEVELOPERS_OWN, ...env });
  await run.prints(/Ready in/, 60_000);
  const url = (server: ServerName) => `http://127.0.0.1:${project.ports[server]}`;
  const client = new DynamoDBClient({
    endpoint: url('dynamodb'),
    region: 'us-east-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  });

  const post: Running['post'] = async (event) => {
    const answer = await fetch(`${url('http')}/vvchat/events?token=local`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(event),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, string> };
  };

  const replied: Running['replied'] = (event_id, milliseconds = 5_000, event = documented.at) =>
    until(async () => {
      const { session_open_id } = event.data.session;
      const Key = toAttributes({ session_open_id, event_id });
      const request = new GetItemCommand({ TableName: nameOf('inbox'), Key });
      const row = fromAttributes((await client.send(request)).Item ?? {});
      return row.status === 'replied' && row;
    }, milliseconds);

  const answersWith: Running['answersWith'] = async (text, event) => {
    await until(async () => {
      const it = event();
      const { body } = await post(it);
      if (body.event_id === undefined) return false;
      const row = await replied(body.event_id, 5_000, it);
      return JSON.parse(`${row.commands}`)[0].params.text === text;
    });
  };

  return {
    project,
    run,
    client,
    url,
    post,
    replied,
    answersWith,
    [Symbol.asyncDispose]: project[Symbol.asyncDispose],
  };
}
