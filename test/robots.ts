import { type AtContext, defineRobot, type Handler, type Robot, sendText } from 'vvchat-robot';

/** A robot that answers every @-mention by one handler. */
export const answering = (then: Handler<AtContext>): Robot => defineRobot({ at: [[/^/, then]] });

/** A robot that answers no @-mention, and does something instead. */
export const silently = (work: (context: AtContext) => unknown): Robot =>
  answering(async (context) => {
    await work(context);
    return null;
  });

export const echo = answering(({ text }) => sendText(text));

export const three = answering(() => [sendText('1'), sendText('2'), sendText('3')]);
