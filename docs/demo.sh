#!/usr/bin/env bash
# The whole workflow on shallow-water data, into the folder demo: data, training, forecast, scores,
# pictures. Existing outputs are kept, so that an interrupted demo continues; remove demo to start again.
set -euo pipefail
cd "$(dirname "$0")/.."
forecast=${FORECAST:-.venv/bin/forecast}
started=$SECONDS
# Threads that spin while they wait made this ten times slower where other programs compute too.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"

run() { # OUTPUT WORDS...: run the command unless its output exists
    local output=$1
    shift
    if [ -e "$output" ]; then
        echo "$output exists: forecast ${*:1:2} is skipped"
        return
    fi
    echo
    echo "\$ forecast $*"
    "$forecast" "$@"
}

mkdir -p demo
run demo/store.zarr data swe swe_demo --out demo/store.zarr
# A run has a package after its first validation; --resume continues it, and ends at once if it is complete.
run demo/forecast.nc train swe_demo --data demo/store.zarr --out demo/run --resume \
    tracking.uri=sqlite:///demo/mlflow.db
run demo/forecast.nc rollout demo/run/best --data demo/store.zarr --out demo/forecast.nc
run demo/scores.nc evaluate demo/forecast.nc --data demo/store.zarr --out demo/scores.nc
for projection in orthographic robinson; do
    run "demo/vorticity_$projection.png" plot map demo/forecast.nc --variable vorticity --lead 10h \
        --projection "$projection" --truth demo/store.zarr --out "demo/vorticity_$projection.png"
done
run demo/skill.png plot scores demo/scores.nc --out demo/skill.png
run demo/spectrum.png plot spectrum demo/forecast.nc --data demo/store.zarr --out demo/spectrum.png

cat <<END

Done in $((SECONDS - started)) s. In the folder demo:
  store.zarr                     trajectories of the shallow-water solver
  run/best, run/package          the trained model, the best and the last: forecast.load_package(...)
  run/train.log, metrics.jsonl   log and metrics of the training
  forecast.nc, scores.nc         CF files, for xarray, ncview, cdo
  vorticity_orthographic.png, vorticity_robinson.png, skill.png, spectrum.png
Show the training run in MLflow:
  ${forecast%forecast}mlflow ui --backend-store-uri sqlite:///demo/mlflow.db
  and open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning
END
