import { describe, expect, test } from '@jest/globals';
import { readSettings } from '../../src/config.ts';

const graph = (more: Record<string, string>) =>
  readSettings({
    USHER_GRAPH_TENANT_ID: 'tenant-1',
    USHER_GRAPH_CLIENT_ID: 'c',
    USHER_GRAPH_CLIENT_SECRET: 's',
    ...more,
  }).graph;
const faultsOf = (env: Record<string, string>): string[] => {
  try {
    readSettings(env);
    return [];
  } catch (error) {
    return (error as { faults: string[] }).faults;
  }
};

describe('settings', () => {
  test('the cloud gives login and Graph hosts, and the scope is always the cloud’s own', () => {
    expect(graph({ USHER_GRAPH_CLOUD: 'usgov' })).toMatchObject({
      baseUrl: 'https://graph.microsoft.us',
      authority: 'https://login.microsoftonline.us',
      scope: 'https://graph.microsoft.us/.default',
      ownAuthority: false,
    });
    expect(graph({ USHER_GRAPH_BASE_URL: 'http://127.0.0.1:9000/v1.0/' })).toMatchObject({
      baseUrl: 'http://127.0.0.1:9000',
      scope: 'https://graph.microsoft.com/.default',
    });
  });
  test('an authority may carry the tenant or not', () => {
    for (const authority of ['http://localhost:9000', 'http://localhost:9000/', 'http://localhost:9000/tenant-1'])
      expect(graph({ USHER_GRAPH_AUTHORITY: authority })).toMatchObject({
        authority: 'http://localhost:9000',
        ownAuthority: true,
      });
  });
  test('an empty setting is an absent one, a slip in a name is told, somebody else’s name is not ours', () => {
    expect(faultsOf({ USHER_PORT: '', USHER_TEAM: 'x' })).toEqual([]);
    expect(faultsOf({ USHER_PROT: '1', USHER_GRAPH_TENANT_ID: 't' }).join('\n')).toMatch(
      /USHER_PORT[\s\S]*USHER_GRAPH_CLIENT_ID[\s\S]*USHER_GRAPH_CLIENT_SECRET/,
    );
  });
});
