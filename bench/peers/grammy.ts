import { Bot, webhookCallback } from 'grammy';
import { record } from './record.ts';

/** With `botInfo` Telegram is not asked who the bot is. */
const bot = new Bot(process.env.TELEGRAM_TOKEN ?? '', {
  botInfo: {
    id: 4839574812,
    is_bot: true,
    first_name: 'Bench',
    username: 'bench_bot',
    can_join_groups: true,
    can_read_all_group_messages: false,
    can_manage_bots: false,
    can_connect_to_business: false,
    supports_inline_queries: false,
    supports_join_request_queries: false,
    has_main_web_app: false,
    has_topics_enabled: false,
    allows_users_to_create_topics: false,
  },
});

bot.on('message:text', async ({ me, chat, from, message }) => {
  if (process.env.RECORDS === 'yes') {
    await record({
      app: `${me.id}`,
      robot: `${me.id}`,
      robotNo: me.username,
      chat: `${chat.id}`,
      isGroup: chat.type !== 'private',
      user: `${from.id}`,
      text: message.text,
    });
  }
});

/** A Telegram bot by grammY, as its documentation has it for Lambda. */
export const handler = webhookCallback(bot, 'aws-lambda-async', {
  secretToken: process.env.TELEGRAM_SECRET ?? '',
});
