// node's ssh2. Arguments: PORT DIRECTORY.
const { readFileSync } = require('fs');
const { Server, utils: { parseKey } } = require('ssh2');

const [port, house] = process.argv.slice(2);
const read = (name) => readFileSync(`${house}/${name}`);
const message = read('message');
const password = read('password').toString().trim();
const visitor = parseKey(read('id_ed25519.pub'));

const allowed = (ctx) => {
  if (ctx.username !== 'guest') return false;
  switch (ctx.method) {
    case 'password':
      return ctx.password === password;
    case 'publickey':
      return ctx.key.algo === visitor.type && visitor.getPublicSSH().equals(ctx.key.data) &&
        (!ctx.signature || visitor.verify(ctx.blob, ctx.signature, ctx.hashAlgo) === true);
  }
  return false;
};

new Server({ hostKeys: [read('ssh_host_ed25519_key')] }, (client) => {
  client.setNoDelay(true); // without it every login waits a quarter of a second for Nagle
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
