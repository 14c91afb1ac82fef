import { type Logger, pino } from 'pino';

export type Log = Logger;

/** One line of JSON an event, to standard error, so that a command's own output stays clean. Secrets never get here; the list is the second net. */
export function openLog(level: string): Log {
  return pino(
    {
      level,
      base: null,
      redact: {
        paths: [
          'authorization',
          'password',
          'token',
          '*.authorization',
          '*.password',
          '*.token',
          'req.headers.authorization',
        ],
        censor: '[secret]',
      },
    },
    pino.destination({ fd: 2, sync: false }),
  );
}
