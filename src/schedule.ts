/** Times of day by a cron expression in a time zone, also over the hours that daylight saving time leaves out or repeats. */
import { CronExpressionParser } from 'cron-parser';

/** The first time behind `after`. Throws where the expression or the zone can not be read. */
export function nextTime(expression: string, timeZone: string, after: Date): Date {
  return CronExpressionParser.parse(expression, { currentDate: after, tz: timeZone }).next().toDate();
}

/** Why it can not be read; null where it can. Five fields: minute, hour, day of month, month, day of week. */
export function faultOfCron(expression: string, timeZone: string): string | null {
  if (expression.trim().split(/\s+/).length !== 5)
    return 'use five fields: minute, hour, day of month, month, day of week, as in "0 3 * * *"';
  try {
    nextTime(expression, timeZone, new Date(0));
    return null;
  } catch (error) {
    return `can not be read: ${(error as Error).message}`;
  }
}
