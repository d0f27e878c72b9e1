import { expect, test } from 'vitest';
import { useInbox } from '../../test/inbox.ts';
import { iso } from '../aws/table.ts';
import { noteDuplicate } from './duplicate.ts';
import * as inbox from './transitions.ts';

const on = useInbox();

test('a duplicate is counted in the row that it duplicates', async () => {
  const item = await on.pending();
  await noteDuplicate(on.table, item);
  on.clock.advance(1_000);
  await noteDuplicate(on.table, item);
  expect(await on.read(item)).toEqual({
    ...item,
    duplicates: 2,
    last_duplicate_at: iso(on.clock.now()),
  });
});

test('a duplicate does not disturb the worker that has the row', async () => {
  const item = await on.pending();
  await noteDuplicate(on.table, item);
  const settled = await inbox.completeWithoutReply(on.table, inbox.unclaimed(item));
  expect(settled.item.status).toBe('ignored');
});

test('a duplicate of an erased row leaves none behind', async () => {
  const gone = { session_open_id: 'gone', event_id: 'gone' };
  await noteDuplicate(on.table, gone);
  await expect(on.read(gone)).rejects.toThrow('no such row');
});

test('any other error of DynamoDB is thrown', async () => {
  const nowhere = { ...on.table, name: 'nowhere' };
  await expect(noteDuplicate(nowhere, await on.pending())).rejects.toThrow();
});
