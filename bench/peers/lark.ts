import { EventDispatcher, generateChallenge } from '@larksuiteoapi/node-sdk';
import type { APIGatewayProxyHandlerV2 } from 'aws-lambda';
import { record } from './record.ts';

const encryptKey = process.env.LARK_ENCRYPT_KEY ?? '';
const verificationToken = process.env.LARK_VERIFICATION_TOKEN ?? '';

const dispatcher = new EventDispatcher({ encryptKey, verificationToken }).register({
  'im.message.receive_v1': async ({ app_id = '', message, sender }) => {
    if (process.env.RECORDS === 'yes') {
      await record({
        app: app_id,
        robot: app_id,
        robotNo: app_id,
        chat: message.chat_id,
        isGroup: message.chat_type === 'group',
        user: sender.sender_id?.open_id ?? '',
        text: JSON.parse(message.content).text,
      });
    }
    return { msg: 'success' };
  },
});

/** A Feishu (Lark) robot by its SDK: the custom adapter of its documentation, for Lambda. */
export const handler: APIGatewayProxyHandlerV2 = async ({ headers, body }) => {
  const data = Object.assign(Object.create({ headers }), JSON.parse(body ?? ''));
  const { isChallenge, challenge } = generateChallenge(data, { encryptKey });
  const result = isChallenge ? challenge : await dispatcher.invoke(data);
  // There is no result when the signature is wrong.
  if (result === undefined) return { statusCode: 401 };
  return {
    statusCode: 200,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(result),
  };
};
