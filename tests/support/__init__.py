"""What the outside tests share: the server as a process, functions as packages, recorded answers."""
