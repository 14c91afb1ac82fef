/** PostgreSQL is the truth, the backlog and the timers. This is all of it behind one port. */
import type { Store } from '../ports.ts';
import { accessStore } from './access.ts';
import { adminStore } from './admin.ts';
import { type Database, translate } from './database.ts';
import { intakeStore } from './intake.ts';
import { policyStore } from './policy.ts';
import { stepStore } from './steps.ts';

export function openStore(database: Database): Store {
  return {
    ...intakeStore(database.pool),
    ...stepStore(database.pool),
    ...adminStore(database),
    ...accessStore(database.pool),
    ...policyStore(database.pool),
    async ping() {
      await database.pool.query('select 1').catch((error: unknown) => {
        throw translate(error);
      });
    },
    close: () => database.close(),
  };
}
