import { App, AwsLambdaReceiver } from '@slack/bolt';
import type { APIGatewayProxyHandlerV2 } from 'aws-lambda';
import { record } from './record.ts';

const receiver = new AwsLambdaReceiver({ signingSecret: process.env.SLACK_SIGNING_SECRET ?? '' });

/** With `authorize` Slack is not asked who the bot is. */
const bot = { botToken: 'xoxb-bench', botId: 'B0LAN0Z89', botUserId: 'U0LAN0Z89' };
const app = new App({ receiver, authorize: async () => bot });

app.event('app_mention', async ({ event, body }) => {
  if (process.env.RECORDS === 'yes') {
    await record({
      app: body.api_app_id,
      robot: bot.botUserId,
      robotNo: bot.botId,
      chat: event.channel,
      isGroup: true,
      user: event.user ?? '',
      text: event.text,
    });
  }
});

/** A Slack app by Bolt, as its documentation has it for Lambda. */
export const handler: APIGatewayProxyHandlerV2 = async (request, context) => {
  const handle = await receiver.start();
  return handle(request, context);
};
