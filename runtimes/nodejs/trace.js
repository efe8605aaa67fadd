// The trace header of an event, where functions look for it: process.env._X_AMZN_TRACE_ID.
//
// Writing process.env calls setenv(3), and glibc before 2.41 never frees a value that it was given:
// 150 bytes an event, which fill an instance in less than a million. So this one name is kept beside
// the environment; whoever reads, lists or copies process.env (a child's environment is such a copy)
// finds it there. A worker thread that is given no `env` and native code that calls getenv(3) do not.
'use strict';

const NAME = '_X_AMZN_TRACE_ID';
let header;

const shown = new Proxy(process.env, {
  get: (env, name) => (name === NAME ? header : env[name]),
  has: (env, name) => (name === NAME ? header !== undefined : name in env),
  set(env, name, value) {
    if (name === NAME) header = String(value); else env[name] = value;
    return true;
  },
  deleteProperty(env, name) {
    if (name !== NAME) return delete env[name];
    header = undefined;
    return true;
  },
  ownKeys(env) {
    const names = Reflect.ownKeys(env).filter((name) => name !== NAME);
    return header === undefined ? names : [...names, NAME];
  },
  getOwnPropertyDescriptor(env, name) {
    if (name !== NAME) return Reflect.getOwnPropertyDescriptor(env, name);
    return header === undefined
      ? undefined
      : { value: header, writable: true, enumerable: true, configurable: true };
  },
  defineProperty(env, name, descriptor) {
    if (name !== NAME) return Reflect.defineProperty(env, name, descriptor);
    header = String(descriptor.value);
    return true;
  },
});

process.env = shown;

exports.setHeader = (value) => {
  header = value || undefined;
  // A function has put an object of its own there, which does not ask us.
  if (process.env === shown) return;
  if (header === undefined) delete process.env[NAME]; else process.env[NAME] = header;
};
