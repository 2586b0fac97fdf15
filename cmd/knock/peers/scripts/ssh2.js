// node's ssh2. Arguments: PORT DIRECTORY.
const { readFileSync } = require('fs');
const { Server, utils: { parseKey } } = require('ssh2');

const [port, bench] = process.argv.slice(2);
const read = (name) => readFileSync(`${bench}/${name}`);
const message = read('message');
const password = read('password').toString().trim();
const userKey = parseKey(read('id_ed25519.pub'));

const allowed = (ctx) => {
  if (ctx.username !== 'guest') return false;
  switch (ctx.method) {
    case 'password':
      return ctx.password === password;
    case 'publickey':
      return ctx.key.algo === userKey.type && userKey.getPublicSSH().equals(ctx.key.data) &&
        (!ctx.signature || userKey.verify(ctx.blob, ctx.signature, ctx.hashAlgo) === true);
  }
  return false;
};

new Server({ hostKeys: [read('ssh_host_ed25519_key')] }, (client) => {
  client.setNoDelay(true); // or Nagle's algorithm delays every login
  client.on('authentication', (ctx) => (allowed(ctx) ? ctx.accept() : ctx.reject(['publickey', 'password'])));
  client.on('ready', () => client.on('session', (accept) => {
    accept().on('shell', (accept) => {
      const channel = accept();
      channel.write(message);
      channel.exit(0);
      channel.end();
    });
  }));
  client.on('error', (err) => console.error(err.message));
}).listen(Number(port), '127.0.0.1');
