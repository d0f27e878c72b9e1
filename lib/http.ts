import type {
  APIGatewayProxyEvent,
  APIGatewayProxyEventV2,
  APIGatewayProxyStructuredResultV2,
} from 'aws-lambda';
import type { EventFault } from './vvchat/event.ts';

/** A request as API Gateway hands it over, in payload format 2.0 or 1.0. */
export type Request = APIGatewayProxyEventV2 | APIGatewayProxyEvent;
export type Response = APIGatewayProxyStructuredResultV2;

export const MAX_BODY_BYTES = 64 * 1024;

/** Every value that the query has for a name, decoded. */
export function queryValues(request: Request, name: string): readonly string[] {
  if ('rawQueryString' in request && typeof request.rawQueryString === 'string') {
    return new URLSearchParams(request.rawQueryString).getAll(name);
  }
  const several =
    'multiValueQueryStringParameters' in request && request.multiValueQueryStringParameters?.[name];
  return (several || [request.queryStringParameters?.[name]]).filter((it) => it !== undefined);
}

/** The body's bytes; undefined when the body claims to be base64 and is not. */
export function bodyBytes({ body, isBase64Encoded }: Request): Buffer | undefined {
  if (!isBase64Encoded) return Buffer.from(body ?? '');
  const bytes = Buffer.from(body ?? '', 'base64');
  return bytes.toString('base64') === body ? bytes : undefined;
}

export const json = (statusCode: number, body: Readonly<Record<string, string>>): Response => ({
  statusCode,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
});

/** An error. Source: RFC 9457, problem details for HTTP APIs. */
export const problem = (
  status: keyof typeof TITLES,
  detail: string,
  { errors, headers }: { errors?: readonly EventFault[]; headers?: Record<string, string> } = {},
): Response => ({
  statusCode: status,
  headers: { 'Content-Type': 'application/problem+json', ...headers },
  body: JSON.stringify({ type: 'about:blank', title: TITLES[status], status, detail, errors }),
});

const TITLES = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  413: 'Content Too Large',
  503: 'Service Unavailable',
} as const;
