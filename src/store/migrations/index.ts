import { sql as people } from './0001-people.ts';
import { sql as account } from './0002-account.ts';
import { sql as scim } from './0003-scim.ts';
import { sql as lookups } from './0004-lookups.ts';
import { sql as directorySync } from './0005-directory-sync.ts';
import { sql as accountWhole } from './0006-account-whole.ts';
import { sql as imports } from './0007-imports.ts';
import { sql as tasks } from './0008-tasks.ts';
import { sql as plans } from './0009-plans.ts';
import { sql as drift } from './0010-drift.ts';
import { sql as handedOver } from './0011-handed-over.ts';
import { sql as together } from './0012-together.ts';
import { sql as consoleTables } from './0013-console.ts';
import { sql as decided } from './0014-decided.ts';

/** In order; a released migration never changes. */
export const migrations: Record<string, string> = {
  '0001-people': people,
  '0002-account': account,
  '0003-scim': scim,
  '0004-lookups': lookups,
  '0005-directory-sync': directorySync,
  '0006-account-whole': accountWhole,
  '0007-imports': imports,
  '0008-tasks': tasks,
  '0009-plans': plans,
  '0010-drift': drift,
  '0011-handed-over': handedOver,
  '0012-together': together,
  '0013-console': consoleTables,
  '0014-decided': decided,
};
