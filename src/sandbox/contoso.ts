/** Contoso: thirty people in many scripts, a dedicated mailbox, and the usual gaps. The same on every start. */
import { createHash } from 'node:crypto';
import { newTenant, type Tenant, type TenantUser } from './tenant.ts';

export interface ContosoPerson {
  objectId: string;
  givenName: string;
  familyName: string;
  local: string;
  department: string;
  provider: 'entra' | 'okta';
}

export const contoso = {
  domain: 'contoso.com',
  dedicatedMailbox: 'scheduling@contoso.com',
  founder: 'admin@contoso.com',
};

const names: [string, string, string][] = [
  ['Ana', 'Ruiz', 'ana.ruiz'],
  ['Björn', 'Åkesson', 'bjorn.akesson'],
  ['Chidi', 'Okafor', 'chidi.okafor'],
  ['Đặng', 'Thị Hoa', 'hoa.dang'],
  ['Elif', 'Yıldız', 'elif.yildiz'],
  ['Φώτης', 'Παπαδόπουλος', 'fotis.papadopoulos'],
  ['Grażyna', 'Wójcik', 'grazyna.wojcik'],
  ['花子', '山田', 'hanako.yamada'],
  ['Иван', 'Петров', 'ivan.petrov'],
  ['José', 'Núñez', 'jose.nunez'],
  ['김', '민준', 'minjun.kim'],
  ['ليلى', 'حسن', 'layla.hassan'],
  ['Maeve', 'O’Brien', 'maeve.obrien'],
  ['Noam', 'לוי', 'noam.levi'],
  ['Ólafur', 'Jónsson', 'olafur.jonsson'],
  ['Priya', 'शर्मा', 'priya.sharma'],
  ['Quentin', 'Lefèvre', 'quentin.lefevre'],
  ['Rūta', 'Kazlauskaitė', 'ruta.kazlauskaite'],
  ['Siobhán', 'Ní Dhomhnaill', 'siobhan.nidhomhnaill'],
  ['Tomáš', 'Dvořák', 'tomas.dvorak'],
  ['Uma', 'Iyer', 'uma.iyer'],
  ['Václav', 'Černý', 'vaclav.cerny'],
  ['王', '小明', 'xiaoming.wang'],
  ['Xiomara', 'Peña', 'xiomara.pena'],
  ['Yara', 'Said', 'yara.said'],
  ['Zoë', 'van der Meer', 'zoe.vandermeer'],
  ['Aroha', 'Tāmati', 'aroha.tamati'],
  ['Bogdan', 'Țurcanu', 'bogdan.turcanu'],
  ['Carmen', 'D’Angelo', 'carmen.dangelo'],
  ['Dilnoza', 'Karimova', 'dilnoza.karimova'],
];

/** A stable id made of a word: the same person has the same object id on every start. */
export function stableId(word: string): string {
  const hex = createHash('sha256').update(word).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

export const contosoPeople: ContosoPerson[] = names.map(([givenName, familyName, local], index) => ({
  objectId: stableId(local),
  givenName,
  familyName,
  local,
  department: index % 3 === 0 ? 'Advisory' : 'Sales',
  provider: index < 18 ? 'entra' : 'okta',
}));

/** The gaps: local part → what is not in order. */
export const gaps: Record<string, Partial<TenantUser> | 'not_delegated' | 'shared'> = {
  'chidi.okafor': 'not_delegated',
  'jose.nunez': 'not_delegated',
  'uma.iyer': 'not_delegated',
  'maeve.obrien': 'shared',
  'priya.sharma': { mailbox: 'none', exchangePlan: false, calendarPermissions: [] },
};

export function contosoTenant(): Tenant {
  const mailboxUser = (local: string, displayName: string, more: Partial<TenantUser> = {}): TenantUser => ({
    objectId: stableId(local),
    userPrincipalName: `${local}@${contoso.domain}`,
    displayName,
    mail: `${local}@${contoso.domain}`,
    proxyAddresses: [`SMTP:${local}@${contoso.domain}`],
    accountEnabled: true,
    onPremisesSyncEnabled: null,
    exchangePlan: true,
    mailbox: 'cloud',
    calendarPermissions: [],
    ...more,
  });
  // The permission lists show the mailbox by an alias: any of its addresses is the same mailbox.
  const dedicated = mailboxUser('scheduling', 'Scheduling', {
    proxyAddresses: [`SMTP:scheduling@${contoso.domain}`, `smtp:Bookings@${contoso.domain}`],
  });
  const people = contosoPeople.map((person, index) => {
    const gap = gaps[person.local];
    const delegated: TenantUser['calendarPermissions'] = [
      {
        address: index % 4 === 0 ? `Bookings@${contoso.domain}` : contoso.dedicatedMailbox,
        role: index % 5 === 0 ? 'delegateWithoutPrivateEventAccess' : 'delegateWithPrivateEventAccess',
      },
    ];
    const calendarPermissions: TenantUser['calendarPermissions'] =
      gap === 'not_delegated'
        ? []
        : gap === 'shared'
          ? [{ address: contoso.dedicatedMailbox, role: 'write' }]
          : delegated;
    return mailboxUser(person.local, `${person.givenName} ${person.familyName}`, {
      calendarPermissions,
      ...(typeof gap === 'object' ? gap : {}),
    });
  });
  return newTenant([dedicated, ...people]);
}
