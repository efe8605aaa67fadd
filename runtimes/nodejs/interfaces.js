// `os.networkInterfaces()` asks over netlink, which the sandbox refuses. Functions and libraries call
// it all the same (for an address to show, for an id), so where the call fails the answer is what every
// instance has: loopback, without the link to the outside that some have beside it.
'use strict';

const fs = require('fs');
const { syncBuiltinESMExports } = require('module');
const os = require('os');

const MAC = '00:00:00:00:00:00';

function patch() {
  const ask = os.networkInterfaces;
  os.networkInterfaces = function networkInterfaces() {
    try {
      return ask();
    } catch (_) {
      return loopback();
    }
  };
  // For `import { networkInterfaces } from 'os'`.
  syncBuiltinESMExports();
}

function loopback() {
  const lo = [{ address: '127.0.0.1', netmask: '255.0.0.0', family: 'IPv4', mac: MAC, internal: true, cidr: '127.0.0.1/8' }];
  if (hasIpv6()) {
    lo.push({ address: '::1', netmask: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', family: 'IPv6', mac: MAC, internal: true, cidr: '::1/128', scopeid: 0 });
  }
  return { lo };
}

// A kernel may come without it.
function hasIpv6() {
  try {
    return /^0{31}1 .* lo$/m.test(fs.readFileSync('/proc/net/if_inet6', 'latin1'));
  } catch (_) {
    return false;
  }
}

module.exports = { patch };
