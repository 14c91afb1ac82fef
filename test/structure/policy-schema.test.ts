import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { parsePolicy, policyJsonSchema } from '../../src/config.ts';

test('config/policy.schema.json is what the code checks', () => {
  const published = JSON.parse(readFileSync('config/policy.schema.json', 'utf8')) as unknown;
  expect(published).toEqual(JSON.parse(JSON.stringify(policyJsonSchema())));
});

test('config/policy.example.yaml is right', () => {
  expect(
    parsePolicy(readFileSync('config/policy.example.yaml', 'utf8'), 'config/policy.example.yaml').rules,
  ).toHaveLength(2);
});
