import type { Outcome } from '../../../lib/delivery/delivery.ts';
import type { Item } from '../../../lib/inbox/item.ts';
import type { ErrorCode } from '../errors.ts';
import type { NoteKind } from '../show-command.ts';
import type { Exchange, Fault } from '../state.ts';

/*
 * Every text of the page, in both languages. A status, an outcome, an error, a fault or a command without a text
 * does not compile, and neither does a key that one language lacks.
 */

/** The texts that belong to a value of a fixed set. */
interface CodedTexts {
  readonly notes: Readonly<Record<NoteKind, (by: string, what: string) => string>>;
  readonly exchangeKinds: Readonly<Record<Exchange['kind'], string>>;
  readonly statuses: Readonly<Record<Item['status'], string>>;
  readonly phases: Readonly<Record<NonNullable<Item['phase']>, string>>;
  readonly outcomes: Readonly<Record<Outcome, string>>;
  /** The name of a fault and what it does. */
  readonly faults: Readonly<Record<Fault, readonly [name: string, effect: string]>>;
  readonly errors: Readonly<Record<ErrorCode | 'unreachable', string>>;
}

const en = {
  title: 'VVChat Studio',
  subtitle: 'Simulates VVChat on this machine',
  you: 'You are',
  otherLanguage: '中文',
  disconnected: 'The studio is stopped or restarting. Reconnecting …',
  views: {
    chats: 'Chats',
    chat: 'Chat',
    traffic: 'Traffic',
    memberships: 'Memberships',
    faults: 'Faults',
  },

  groups: 'Groups',
  oneToOne: 'One-to-one',
  newGroup: 'New group',
  groupName: 'Group name',
  create: 'Create',
  robot: 'robot',
  robotsHere: 'Robots here:',
  noRobots: 'no robot yet',
  addRobot: 'Add a robot',
  reopen: 'Reopen',
  reopenHint: 'Posts session-open for each robot in the group',

  messages: 'Messages',
  message: 'Message',
  mentionHint: 'Type @ to mention a robot',
  plainHint: 'Type a message',
  send: 'Send',
  tryIt: 'Try:',
  hello: 'hello',
  keepMentions: "Keep the robot's name in the text",
  keepMentionsHint:
    'VVChat does not document whether it keeps the name, so a robot should handle both.',
  noMention: 'No robot was mentioned, so VVChat posts no event.',
  notes: {
    joined: (person, robot) => `${person} added ${robot} to the group`,
    opened: (person) => `${person} opened the group`,
    'webview-group-open': (robot, page) => `${robot} opened a web view: ${page}`,
    'webview-group-refresh': (robot, page) => `${robot} refreshed the web view: ${page}`,
    'webview-group-close': (robot) => `${robot} closed the web view`,
    'webview-refresh-missed': (robot, page) =>
      `${robot} tried to refresh the web view, but none is open: ${page}`,
  },
  webview: (robot: string) => `Web view of ${robot}`,
  noAddress: 'The robot passed no web address.',
  fold: 'Hide',
  unfold: 'Show',

  emptyTraffic: 'No traffic yet. Send a message, or add a robot to a group.',
  all: 'All',
  events: 'Events',
  commands: 'Commands',
  exchangeKinds: { event: 'event', command: 'command', token: 'token' },
  request: 'Request',
  response: 'Response',
  waiting: 'waiting …',
  noResponse: 'no response',
  validationErrors: 'Validation errors',
  row: 'Inbox row',
  statuses: { pending: 'pending', replied: 'replied', ignored: 'ignored', failed: 'failed' },
  phases: { asking: 'calling the robot', sending: 'sending', crashed: 'crashed' },
  claims: (n: number) => `${n} ${n === 1 ? 'claim' : 'claims'}`,
  commandsSent: (n: number) => `${n} sent`,
  nextAttempt: (time: string) => `next attempt at ${time}`,
  failedAt: (time: string) => `failed at ${time}`,
  outcomeUnknown: (commands: string) => `outcome unknown: command ${commands}`,
  sendAgain: 'Send again',
  sendAgainHint: 'Posts the same event; within DEDUPE_WINDOW_SECONDS it is a duplicate',
  edit: 'Edit and send',
  body: 'Request body',
  cancel: 'Cancel',

  membershipsHint: 'The current content of the memberships table.',
  openAdmin: 'Open dynamodb-admin',
  moreMemberships: 'There may be more rows; dynamodb-admin shows them all.',
  emptyMemberships: 'No robot is in a session yet. The first event adds a row.',

  faultsHint: 'How the simulated VVChat handles commands:',
  faults: {
    none: ['None', 'Every command is carried out.'],
    'server-error': ['500', 'VVChat fails. The command is retried, less and less often.'],
    throttled: ['429', 'VVChat rejects commands with Retry-After. The retry waits that long.'],
    slow: ['Slow', 'Every command takes a few seconds.'],
    'response-lost': [
      'Response lost',
      'The command is carried out, but the connection breaks, so its outcome is unknown. It is sent once more, never a third time.',
    ],
    'tokens-expire': [
      'Tokens expire',
      'A token is rejected about a minute after it was issued. The robot fetches another.',
    ],
  },
  currentFault: (name: string) => `Fault: ${name}`,
  retryNow: 'Make waiting rows due and run retry',
  retryHint:
    'Postponed rows come due by themselves, and retry runs every minute. This button does both now.',
  retried: (due: number, summary: string) => `${due} made due; retry: ${summary}`,
  nothingDue: 'nothing was due',
  outcomes: {
    replied: 'replied',
    ignored: 'ignored',
    failed: 'failed',
    postponed: 'postponed',
    absent: 'not found',
    taken: 'taken by another worker',
    lost: 'lost to another worker',
    stalled: 'interrupted',
    skipped: 'skipped',
  },

  errors: {
    'invalid-input': 'The input is invalid.',
    'foreign-page': "Only the studio's own page may do this.",
    'no-such-chat': 'There is no such chat.',
    'no-such-robot': 'There is no such robot.',
    'groups-only': 'Robots can only be added to groups.',
    'robot-already-in-group': 'The robot is already in the group.',
    'too-many-chats': 'There are too many chats.',
    'input-too-large': 'The input is too large.',
    'not-json': 'The content type must be application/json.',
    unexpected: 'The studio failed.',
    'retry-failed': 'retry failed.',
    unreachable: 'The studio does not respond.',
  },
} satisfies CodedTexts & Readonly<Record<string, unknown>>;

const zh: typeof en = {
  title: 'VVChat Studio',
  subtitle: '本地调试台：在本机模拟 VVChat',
  you: '当前身份',
  otherLanguage: 'English',
  disconnected: 'Studio 已停止或正在重启，正在重新连接……',
  views: {
    chats: '会话',
    chat: '聊天',
    traffic: '收发记录',
    memberships: '成员关系',
    faults: '故障模拟',
  },

  groups: '群聊',
  oneToOne: '单聊',
  newGroup: '新建群',
  groupName: '群名称',
  create: '创建',
  robot: '机器人',
  robotsHere: '群里的机器人：',
  noRobots: '还没有机器人',
  addRobot: '添加机器人',
  reopen: '重新打开',
  reopenHint: '向群里的每个机器人推送 session-open',

  messages: '消息',
  message: '消息',
  mentionHint: '输入 @ 可提及机器人',
  plainHint: '输入消息',
  send: '发送',
  tryIt: '试一试：',
  hello: '您好',
  keepMentions: '文本中保留机器人的名字',
  keepMentionsHint: 'VVChat 文档没有说明是否保留名字，机器人应兼容两种情况。',
  noMention: '没有提及机器人，VVChat 不会推送事件。',
  notes: {
    joined: (person, robot) => `${person} 把 ${robot} 拉进了群`,
    opened: (person) => `${person} 打开了群`,
    'webview-group-open': (robot, page) => `${robot} 打开了网页：${page}`,
    'webview-group-refresh': (robot, page) => `${robot} 刷新了网页：${page}`,
    'webview-group-close': (robot) => `${robot} 关闭了网页`,
    'webview-refresh-missed': (robot, page) => `${robot} 想刷新网页，但群里没有打开的网页：${page}`,
  },
  webview: (robot) => `${robot} 的网页`,
  noAddress: '机器人没有给出网址。',
  fold: '收起',
  unfold: '展开',

  emptyTraffic: '还没有收发记录。发条消息，或者把机器人拉进群。',
  all: '全部',
  events: '事件',
  commands: '指令',
  exchangeKinds: { event: '事件', command: '指令', token: '令牌' },
  request: '请求',
  response: '响应',
  waiting: '等待中……',
  noResponse: '无响应',
  validationErrors: '校验错误',
  row: '收件箱记录',
  statuses: { pending: '待处理', replied: '已回复', ignored: '已忽略', failed: '失败' },
  phases: { asking: '正在调用机器人', sending: '正在发送', crashed: '已崩溃' },
  claims: (n) => `领取 ${n} 次`,
  commandsSent: (n) => `已发送 ${n} 条`,
  nextAttempt: (time) => `下次尝试 ${time}`,
  failedAt: (time) => `失败于 ${time}`,
  outcomeUnknown: (commands) => `结果未知：第 ${commands} 条指令`,
  sendAgain: '再次发送',
  sendAgainHint: '推送同一个事件；在 DEDUPE_WINDOW_SECONDS 之内算重复',
  edit: '修改后发送',
  body: '请求正文',
  cancel: '取消',

  membershipsHint: '成员关系表的当前内容。',
  openAdmin: '打开 dynamodb-admin',
  moreMemberships: '可能还有更多记录，可在 dynamodb-admin 中查看全部。',
  emptyMemberships: '还没有机器人加入任何会话。收到第一个事件后，这里会出现记录。',

  faultsHint: '模拟的 VVChat 如何处理指令：',
  faults: {
    none: ['正常', '每条指令都会执行。'],
    'server-error': ['500', 'VVChat 出错。指令会重试，间隔逐次加长。'],
    throttled: ['429', 'VVChat 限流，并返回 Retry-After。重试会等待相应的时间。'],
    slow: ['缓慢', '每条指令都要几秒才完成。'],
    'response-lost': [
      '响应丢失',
      '指令已执行，但连接中断，结果未知。会再发送一次，绝不会有第三次。',
    ],
    'tokens-expire': ['令牌过期', '令牌签发约一分钟后即被拒绝，机器人会重新获取。'],
  },
  currentFault: (name) => `故障模拟：${name}`,
  retryNow: '立即到期并运行 retry',
  retryHint: '推迟的记录会自行到期，retry 每分钟运行一次。这个按钮让两者立即发生。',
  retried: (due, summary) => `${due} 条立即到期；retry：${summary}`,
  nothingDue: '没有到期的记录',
  outcomes: {
    replied: '已回复',
    ignored: '已忽略',
    failed: '失败',
    postponed: '已推迟',
    absent: '不存在',
    taken: '被占用',
    lost: '被抢先',
    stalled: '中断',
    skipped: '跳过',
  },

  errors: {
    'invalid-input': '输入无效。',
    'foreign-page': '只有 Studio 自己的页面可以执行此操作。',
    'no-such-chat': '没有这个会话。',
    'no-such-robot': '没有这个机器人。',
    'groups-only': '机器人只能加入群聊。',
    'robot-already-in-group': '机器人已经在群里。',
    'too-many-chats': '会话太多了。',
    'input-too-large': '输入过大。',
    'not-json': '内容类型必须是 application/json。',
    unexpected: 'Studio 出错了。',
    'retry-failed': 'retry 运行失败。',
    unreachable: 'Studio 没有响应。',
  },
};

export const TEXTS = { en, zh } as const;
