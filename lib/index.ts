/** What a robot's author imports from `vvchat-robot`. */
export {
  type Answer,
  type AtContext,
  type Context,
  defineRobot,
  type Handler,
  InvalidRobotError,
  type MentionContext,
  type Predicate,
  type Robot,
  type RobotDefinition,
  type Route,
} from './define-robot.ts';
export {
  type Command,
  closeWebview,
  type Height,
  InvalidCommandError,
  openWebview,
  refreshWebview,
  sendText,
} from './vvchat/command.ts';
export type { Session } from './vvchat/event.ts';
