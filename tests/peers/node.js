// An HTTP server on Node's own modules that writes down each record before it answers.
//   node node.js http1|http2 ADDRESS PORT LOG [CERTIFICATE KEY]
// A line of LOG: the digest of the header, the digest of the body, the body's sequence number.
'use strict';

const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const https = require('https');

const [protocol, address, port, path, certificate, key] = process.argv.slice(2);
const log = fs.openSync(path, 'a');

function serve(request, response) {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
        if (request.method === 'POST') {
            const record = JSON.parse(Buffer.concat(parts));
            fs.writeSync(log, `${request.headers['aerospike-digest']} ${record.metadata.digest} ${record.seq}\n`);
        }
        response.writeHead(200);
        response.end('ok');
    });
}

const tls = certificate ? { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) } : null;
let server;
if (protocol === 'http2') {
    server = tls ? http2.createSecureServer(tls, serve) : http2.createServer(serve);
} else {
    server = tls ? https.createServer(tls, serve) : http.createServer(serve);
    // Announces the end of a connection with `Connection: close` on its last answer.
    server.maxRequestsPerSocket = 1000;
}
server.listen(Number(port), address);
