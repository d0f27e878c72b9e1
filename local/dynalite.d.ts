declare module 'dynalite' {
  import type { Server } from 'node:http';

  /** An embedded engine that speaks DynamoDB's HTTP API; in memory unless it gets a path. */
  export default function dynalite(options?: { createTableMs?: number; path?: string }): Server;
}
