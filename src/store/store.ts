/** PostgreSQL is the truth, the backlog and the timers. This is all of it behind one port. */
import type { AlertTargets, Store } from '../ports.ts';
import { accessStore } from './access.ts';
import { adminStore } from './admin.ts';
import { alertStore } from './alerts.ts';
import { type Database, translate } from './database.ts';
import { groupStore } from './groups.ts';
import { importStore } from './imports.ts';
import { intakeStore } from './intake.ts';
import { noticeStore } from './notices.ts';
import { planStore } from './plans.ts';
import { policyStore } from './policy.ts';
import { pulseStore } from './pulse.ts';
import { reconciliationStore } from './reconciliation.ts';
import { requestLogStore } from './request-log.ts';
import { stepStore } from './steps.ts';
import { syncStore } from './sync.ts';
import { taskStore } from './tasks.ts';

/** `groupsMatter`: does any rule of the policy ask for a group? */
export function openStore(
  database: Database,
  groupsMatter = true,
  alertTargets: AlertTargets = { mail: [], webhook: null },
): Store {
  return {
    ...intakeStore(database),
    ...stepStore(database.pool),
    ...adminStore(database),
    ...accessStore(database),
    ...policyStore(database.pool),
    ...planStore(database.pool),
    ...pulseStore(database),
    ...reconciliationStore(database),
    ...groupStore(database, groupsMatter),
    ...requestLogStore(database.pool),
    ...syncStore(database, groupsMatter),
    ...importStore(database),
    ...alertStore(database, alertTargets),
    ...noticeStore(database.pool),
    ...taskStore(database.pool),
    async ping() {
      await database.pool.query('select 1').catch((error: unknown) => {
        throw translate(error);
      });
    },
    close: () => database.close(),
  };
}
