// Connects to foyer with node's ssh2: each of FOYER_TEST_REQUESTS in a session of its own, all on one connection.
//
// It writes the output of the sessions to stdout and stderr, unchanged and in the order of the requests. The exit status is
// the highest of the sessions.
'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');
const { Client } = require('ssh2');

const env = process.env;

// The package does not read known_hosts.
function isKnown(key) {
  const lines = fs.readFileSync(path.join(os.homedir(), '.ssh', 'known_hosts'), 'utf8').trim().split('\n');
  return lines.some((line) => line.split(' ')[2] === key.toString('base64'));
}

function run(client, request) {
  return new Promise((resolve, reject) => {
    const started = (err, stream) => {
      if (err) {
        reject(err);
        return;
      }
      const stdout = [];
      const stderr = [];
      stream.on('data', (data) => stdout.push(data));
      stream.stderr.on('data', (data) => stderr.push(data));
      stream.on('close', (status) => resolve({ stdout, stderr, status }));
    };
    switch (request) {
      case 'exec':
        client.exec('echo hi', started);
        break;
      case 'subsystem':
        client.subsys('netconf', started);
        break;
      default:
        client.shell(request === 'pty' && { term: env.TERM }, started);
    }
  });
}

async function runAll(client) {
  const results = await Promise.all(env.FOYER_TEST_REQUESTS.split(' ').map((request) => run(client, request)));
  for (const { stdout, stderr } of results) {
    process.stdout.write(Buffer.concat(stdout));
    process.stderr.write(Buffer.concat(stderr));
  }
  const statuses = results.map(({ status }) => status);
  if (!statuses.every(Number.isInteger)) {
    throw new Error('a session ended without an exit status');
  }
  process.exitCode = Math.max(...statuses);
}

const fail = (err) => {
  console.error(err);
  process.exit(254);
};

const client = new Client();
client.on('error', fail);
client.on('ready', () => runAll(client).catch(fail).finally(() => client.end()));
client.connect({
  host: env.FOYER_TEST_HOST,
  port: Number(env.FOYER_TEST_PORT),
  username: env.FOYER_TEST_USER,
  password: env.FOYER_TEST_PASSWORD,
  hostVerifier: isKnown,
});
