import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientCertificateFields, distinguishedName } from './client-certificate.ts';

test('the name of a certificate has one reading, in ASCII, most specific part first', () => {
  assert.equal(distinguishedName({ C: 'DE', O: 'Example', CN: 'ann' }), 'CN=ann,O=Example,C=DE');
  assert.equal(distinguishedName({ OU: ['a', 'b'], CN: undefined }), 'OU=b,OU=a');
  assert.equal(distinguishedName({ CN: 'ann,O=Evil' }), 'CN=ann\\,O\\=Evil');
  assert.equal(distinguishedName({ CN: ' #a"+;<>\\ ' }), 'CN=\\ #a\\"\\+\\;\\<\\>\\\\\\ ');
  assert.equal(distinguishedName({ CN: '#a' }), 'CN=\\#a');
  assert.equal(distinguishedName({ CN: 'a\r\nX-Evil: 1\0' }), 'CN=a\\0d\\0aX-Evil: 1\\00');
  assert.equal(distinguishedName({ CN: 'Zoë' }), 'CN=Zo\\c3\\ab');
});

test('nothing is said about who has proved nothing', () => {
  assert.equal(clientCertificateFields(null), '');
  assert.equal(
    clientCertificateFields({ authority: 'a', serverName: 'a', verified: true, certificate: null }),
    '',
  );
  assert.equal(
    clientCertificateFields({
      authority: 'a',
      serverName: 'a',
      verified: false,
      certificate: Buffer.alloc(9),
    }),
    '',
  );
});
