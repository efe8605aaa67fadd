using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [ (name = "main", worker = .hello) ],
  sockets = [ (name = "http", address = "127.0.0.1:PORT", http = (), service = "main") ]
);

const hello :Workerd.Worker = (
  modules = [ (name = "hello.mjs", esModule = embed "hello.mjs") ],
  compatibilityDate = "2024-09-23",
);
