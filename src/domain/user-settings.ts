/** What a user of the account may have set, with the defaults; only what differs from them is stored. */
import { z } from 'zod';
import { looksLikeAddress } from './email-address.ts';
import { roles } from './person.ts';
import { isTimeZone } from './policy.ts';

export const text = (most: number) =>
  z
    .string()
    .trim()
    .min(1)
    .max(most)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    .refine((value) => !/[\u0000-\u001f\u007f]/.test(value), 'must not hold control characters')
    .refine((value) => !/\p{Surrogate}/u.test(value), 'must not hold half a character (a lone surrogate)');

export const emailAddress = z
  .string()
  .trim()
  .max(320)
  .refine((value) => looksLikeAddress(value) && !/\p{Surrogate}/u.test(value), 'must be an e-mail address');
export const timeZone = z.string().refine(isTimeZone, 'must be an IANA time zone, as in Europe/Berlin');

/** E-mails that the user gets at the profile's address. */
export const notificationSettings = z.strictObject({
  bookingScheduled: z.boolean().optional(),
  bookingRescheduled: z.boolean().optional(),
  bookingCanceled: z.boolean().optional(),
  bookingReminders: z.boolean().optional(),
});

export const dateTimeSettings = z.strictObject({
  dateFormat: z.enum(['DD/MM/YYYY', 'MM/DD/YYYY', 'YYYY-MM-DD', 'DD.MM.YYYY']).optional(),
  timeFormat: z.enum(['12h', '24h']).optional(),
  weekStart: z.enum(['Monday', 'Sunday', 'Saturday']).optional(),
});

/** One part a product: booked meetings, and chat. */
export const productSettings = z.strictObject({
  scheduling: z
    .strictObject({
      bufferMinutes: z.int().min(0).max(240).optional(),
      minimumNoticeMinutes: z.int().min(0).max(43_200).optional(),
    })
    .optional(),
  engagement: z
    .strictObject({ takesChats: z.boolean().optional(), chatDisplayName: text(100).nullable().optional() })
    .optional(),
});

/** What an Administrator switches per user; an absent one is the default of the user's role. */
export const switchNames = ['createBookingPages', 'processRefunds', 'triggerAllZaps'] as const;
export type SwitchName = (typeof switchNames)[number];
export const switchSettings = z.partialRecord(z.enum(switchNames), z.boolean().nullable());

export const settingDefaults = {
  notifications: { bookingScheduled: true, bookingRescheduled: true, bookingCanceled: true, bookingReminders: true },
  dateTime: { dateFormat: 'YYYY-MM-DD', timeFormat: '24h', weekStart: 'Monday' },
  productSettings: {
    scheduling: { bufferMinutes: 0, minimumNoticeMinutes: 0 },
    engagement: { takesChats: false, chatDisplayName: null },
  },
} as const;

/** What everybody may change of the own profile. */
export const ownProfileEdit = z.strictObject({
  phone: text(50).nullable().optional(),
  jobTitle: text(200).nullable().optional(),
  timeZone: timeZone.nullable().optional(),
  notifications: notificationSettings.optional(),
  dateTime: dateTimeSettings.optional(),
  productSettings: productSettings.optional(),
});

/** What an Administrator may change of anybody. */
export const userEdit = ownProfileEdit.extend({
  name: text(200).optional(),
  email: emailAddress.optional(),
  role: z.enum(roles).optional(),
  switches: switchSettings.optional(),
});
export type UserEdit = z.output<typeof userEdit>;

export const newUser = z.strictObject({
  name: text(200),
  email: emailAddress,
  /** Left out: Member. A choice needs an account with more than one license. */
  role: z.enum(roles).optional(),
  licenses: z.array(text(100)).max(20).default([]),
  timeZone: timeZone.nullable().default(null),
  invite: z.enum(['send', 'suppress']).default('send'),
});
export type NewUser = z.output<typeof newUser>;

/** Defaults, under what was set. */
export function shownSettings(stored: {
  notifications: object;
  dateTime: object;
  productSettings: { scheduling?: object; engagement?: object };
}) {
  const { notifications, dateTime, productSettings: products } = settingDefaults;
  return {
    notifications: { ...notifications, ...stored.notifications },
    dateTime: { ...dateTime, ...stored.dateTime },
    productSettings: {
      scheduling: { ...products.scheduling, ...stored.productSettings.scheduling },
      engagement: { ...products.engagement, ...stored.productSettings.engagement },
    },
  };
}
