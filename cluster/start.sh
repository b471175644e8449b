#!/usr/bin/env bash
# Starts Ray on this machine: `start.sh ray start --head …` or `start.sh ray start --address=…`.
# What every cluster has in common stands here, once.
set -euo pipefail
export PATH="$HOME/raykd/venv/bin:$PATH"
export RAY_AUTH_MODE=token # nobody without the token reaches the jobs, the dashboard or a worker
if ! [ -r "$HOME/.ray/auth_token" ]; then
  echo "no readable token in ~/.ray/auth_token; on your laptop: ray get-auth-token --generate, then ray up again" >&2
  exit 1
fi
ulimit -n "$(ulimit -Hn)"
ray stop
case " $* " in
*" --head "*)
  # No CPU: trials run on workers only. `driver` is what a study's drivers ask for, so that they
  # stay on the head and never on a spot machine. The dashboard listens on every interface because
  # Train's clean-up asks it from other nodes; the network's rules and the token guard it.
  set -- "$@" --port=6379 --dashboard-host=0.0.0.0 \
    --num-cpus=0 --num-gpus=0 --resources='{"driver": 1}'
  ;;
esac
exec "$@"
