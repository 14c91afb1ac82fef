/**
 * Who may do what, as data. Two tables: what the account's two user types may do (the functions that the organisation knows, by the number of
 * their rule), and which of Usher's own operations need which of them, or one of the operator roles that no user of the account needs.
 *
 * Every operation of the API asks `mayDo`; `permissionsOf` shows a user each function with the reason of a no.
 */
import type { Role } from './person.ts';
import type { SwitchName } from './user-settings.ts';

export const operatorRoles = ['operator', 'exchange_admin', 'idp_admin', 'viewer'] as const;
export type OperatorRole = (typeof operatorRoles)[number];

/** Who asks. A token or an Entra group can be an Administrator without being a user of the account. */
export interface Asker {
  accountUserId: string | null;
  role: Role | null;
  operatorRoles: readonly OperatorRole[];
  switches: Partial<Record<SwitchName, boolean>>;
}

type Grant =
  | 'yes'
  | 'no'
  /** Of what belongs to the asker only. */
  | 'own'
  /** By a switch of the profile; the value is the default. */
  | { switch: SwitchName; byDefault: boolean };

interface AccountFunction {
  /** In `what this account does with users`. */
  rule: string;
  title: string;
  Administrator: Grant;
  Member: Grant;
  /** False: this account has no route for it; the decision is shown all the same. */
  offered: boolean;
}

const fn = (rule: string, title: string, Administrator: Grant, Member: Grant, offered: boolean): AccountFunction => ({
  rule,
  title,
  Administrator,
  Member,
  offered,
});
const onlyAdministrators = (rule: string, title: string, offered = false) => fn(rule, title, 'yes', 'no', offered);

export const accountFunctions = {
  edit_own_profile: fn('13', 'see and change a profile', 'yes', 'own', true),
  // The delegation is the organisation's connection, not the Member's own: an Administrator may see whether it holds.
  view_calendar_connection: fn('13', 'see a calendar connection', 'yes', 'own', true),
  create_booking_pages: fn(
    '13',
    'create Booking pages',
    'yes',
    { switch: 'createBookingPages', byDefault: true },
    true,
  ),
  manage_booking_pages: fn('13', 'rename, enable, disable and delete Booking pages', 'yes', 'own', true),
  change_plan: onlyAdministrators('14.1', "change the account's plan"),
  buy_licenses: onlyAdministrators('14.2', 'buy user licenses or Booking pages'),
  manage_users: onlyAdministrators('14.3', 'add, delete or update users', true),
  assign_page_ownership: onlyAdministrators('14.4', 'assign ownership of a Booking page', true),
  edit_event_types: onlyAdministrators('14.5', 'create or change Event types'),
  edit_master_pages: onlyAdministrators('14.6', 'create or change Master pages'),
  change_report_header: onlyAdministrators('14.7', 'change the header of reports'),
  choose_currency: onlyAdministrators('14.8', 'choose the currency shown for Event type prices'),
  view_pages_as_viewer: onlyAdministrators('14.9', 'hold a viewer role on a Booking page'),
  order_pages: onlyAdministrators('14.10', 'change the order of Booking pages or Event types'),
  buy_sms_credits: onlyAdministrators('14.11', 'buy SMS credits'),
  set_up_mail_domain: onlyAdministrators('14.12', "set up e-mail from the organisation's own domain"),
  edit_booking_forms: onlyAdministrators('14.13', 'create or edit Booking forms'),
  edit_themes: onlyAdministrators('14.14', 'create or edit themes in the theme designer'),
  edit_notification_templates: onlyAdministrators('14.15', 'create or edit notification templates'),
  edit_page_tags: onlyAdministrators('14.16', 'create or edit Booking page tags'),
  make_reports: onlyAdministrators('14.17', 'make or open reports', true),
  trigger_zaps: fn(
    '14.18',
    'trigger Zaps from any Booking page',
    { switch: 'triggerAllZaps', byDefault: false },
    'own',
    false,
  ),
  process_refunds: fn(
    '15',
    'process manual refunds',
    { switch: 'processRefunds', byDefault: true },
    { switch: 'processRefunds', byDefault: false },
    false,
  ),
  view_others_integrations: fn(
    '12',
    "reach another Member's connections to third-party integrations",
    'no',
    'no',
    true,
  ),
  view_others_connection_details: fn(
    '12',
    "reach another Member's personal connection details (secrets, tokens, calendar content)",
    'no',
    'no',
    true,
  ),
} as const satisfies Record<string, AccountFunction>;
export type FunctionName = keyof typeof accountFunctions;

export interface Decision {
  allowed: boolean;
  /** `own`: of what belongs to the asker only. */
  scope: 'all' | 'own' | 'none';
  /** Why not, or on what ground; one sentence. */
  reason: string;
}

/** Of what belongs to nobody in particular: a list, a new thing. */
export const nobody = Symbol('nobody');
/** Whose thing it is: an accountUserId, null for one without an owner. */
export type Subject = string | null | typeof nobody;

export function mayUse(asker: Asker, name: FunctionName, subject: Subject = nobody): Decision {
  const row: AccountFunction = accountFunctions[name];
  if (!asker.role)
    return no(`This needs a user of the account, or its Administrator; an operator role can not ${row.title}.`);
  const grant = row[asker.role];
  if (name === 'view_others_integrations' || name === 'view_others_connection_details') {
    if (subject !== nobody && subject !== null && subject === asker.accountUserId)
      return { allowed: true, scope: 'own', reason: 'It is your own.' };
    return no(`For privacy nobody may ${row.title}, an Administrator neither (rule 12).`);
  }
  if (grant === 'yes') return { allowed: true, scope: 'all', reason: `${asker.role}s may ${row.title}.` };
  if (grant === 'no') return no(`Members can not ${row.title} (rule ${row.rule}). An Administrator can.`);
  if (grant === 'own') {
    if (subject === nobody || (subject !== null && subject === asker.accountUserId))
      return { allowed: true, scope: 'own', reason: `${asker.role}s may, of what is their own.` };
    return { ...no(`${asker.role}s may ${row.title} only where it is their own (rule ${row.rule}).`), scope: 'own' };
  }
  const set = asker.switches[grant.switch];
  const allowed = set ?? grant.byDefault;
  const by = set === undefined ? `by default (rule ${row.rule})` : 'by the switch in the profile';
  return {
    allowed,
    scope: allowed ? 'all' : name === 'trigger_zaps' ? 'own' : 'none',
    reason: allowed
      ? `Allowed ${by}.`
      : name === 'trigger_zaps'
        ? `Only from pages they own, ${by}. An Administrator can switch it for an Administrator.`
        : `Not allowed ${by}. An Administrator can switch «${grant.switch}» on.`,
  };
}

/** Which switches a role has; another one says nothing there. */
export function switchesOf(role: Role): SwitchName[] {
  return [
    ...new Set(
      Object.values(accountFunctions).flatMap((row: AccountFunction) => {
        const grant = row[role];
        return typeof grant === 'object' ? [grant.switch] : [];
      }),
    ),
  ];
}

/** The question of these is whether one may reach what is somebody else's. */
const aboutOthers: FunctionName[] = ['trigger_zaps', 'view_others_integrations', 'view_others_connection_details'];

export function permissionsOf(asker: Asker) {
  return (Object.keys(accountFunctions) as FunctionName[]).map((name) => ({
    function: name,
    rule: accountFunctions[name].rule,
    title: accountFunctions[name].title,
    offered: accountFunctions[name].offered,
    ...mayUse(asker, name, aboutOthers.includes(name) ? 'somebody else' : nobody),
  }));
}

/** What the API does. `account` asks the table above; `operators` may do it without being a user of the account at all. */
interface Operation {
  account: FunctionName;
  operators: readonly OperatorRole[];
}

const op = (account: FunctionName, ...operators: OperatorRole[]): Operation => ({ account, operators });
const everyOperator = operatorRoles;

export const operations = {
  'people.read': op('make_reports', ...everyOperator),
  'people.provision': op('manage_users', 'operator'),
  'people.add': op('manage_users', 'operator'),
  'people.offboard': op('manage_users', 'operator'),
  // An Administrator's decision is taken back by an Administrator.
  'people.keep': op('manage_users'),
  'imports.read': op('make_reports', ...everyOperator),
  'imports.write': op('manage_users', 'operator', 'exchange_admin'),
  'people.personal_data': op('manage_users'),
  'tasks.read': op('make_reports', ...everyOperator),
  'tasks.write': op('manage_users', 'operator'),
  'runs.read': op('make_reports', ...everyOperator),
  'runs.decide': op('manage_users', 'operator'),
  'sources.read': op('make_reports', ...everyOperator),
  'sources.manage': op('manage_users', 'operator', 'idp_admin'),
  'tokens.manage': op('manage_users', 'operator', 'idp_admin'),
  'requests.read': op('make_reports', 'operator', 'idp_admin'),
  'alerts.read': op('make_reports', ...everyOperator),
  'policy.read': op('make_reports', ...everyOperator),
  'delegation.read': op('make_reports', ...everyOperator),
  'delegation.check': op('manage_users', 'operator', 'exchange_admin'),
  'users.list': op('manage_users', ...everyOperator),
  'users.read': op('edit_own_profile', ...everyOperator),
  'users.edit_profile': op('edit_own_profile'),
  'users.manage': op('manage_users'),
  'users.permissions': op('edit_own_profile'),
  'users.history': op('edit_own_profile', 'operator'),
  'users.personal_data': op('edit_own_profile'),
  'users.integrations': op('view_others_integrations'),
  'users.calendar': op('view_calendar_connection'),
  'licenses.read': op('manage_users', ...everyOperator),
  'licenses.assign': op('manage_users'),
  'pages.list': op('manage_booking_pages', ...everyOperator),
  'pages.read': op('manage_booking_pages', ...everyOperator),
  'pages.create': op('create_booking_pages'),
  'pages.create_for_others': op('assign_page_ownership'),
  'pages.manage': op('manage_booking_pages'),
  'pages.assign': op('assign_page_ownership'),
  'sessions.manage': op('manage_users'),
  'mails.read': op('manage_users', 'operator'),
  'mails.send': op('manage_users', 'operator'),
  'session.read': op('edit_own_profile', ...everyOperator),
} as const satisfies Record<string, Operation>;
export type OperationName = keyof typeof operations;

export function mayDo(asker: Asker, name: OperationName, subject: Subject = nobody): Decision {
  const operation: Operation = operations[name];
  const asOperator = operation.operators.find((role) => asker.operatorRoles.includes(role));
  if (asOperator) return { allowed: true, scope: 'all', reason: `The role ${asOperator} may.` };
  const asUser = mayUse(asker, operation.account, subject);
  if (asUser.allowed || asker.role) return asUser;
  return no(
    operation.operators.length > 0
      ? `This needs one of the roles ${operation.operators.join(', ')}, or an Administrator.`
      : `This needs an Administrator, or the user it belongs to.`,
  );
}

/** True where the answer depends on whose thing it is. */
export function isAboutOwn(name: OperationName): boolean {
  const row: AccountFunction = accountFunctions[operations[name].account];
  return row.Member === 'own' || row.Administrator === 'own' || operations[name].account.startsWith('view_others');
}

function no(reason: string): Decision {
  return { allowed: false, scope: 'none', reason };
}
