#!/usr/bin/env bash
# The whole thread on shallow-water data, into the folder demo: data, training, forecast, scores,
# pictures. What is there already is kept, so an interrupted demo goes on; remove demo to begin anew.
set -euo pipefail
cd "$(dirname "$0")/.."
forecast=${FORECAST:-.venv/bin/forecast}
started=$SECONDS
# Where other programs compute too, threads that spin while they wait cost ten times the time.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"

run() { # OUTPUT WORDS...: the command, unless its output is there
    local output=$1
    shift
    if [ -e "$output" ]; then
        echo "$output is there already: forecast ${*:1:2} is skipped"
        return
    fi
    echo
    echo "\$ forecast $*"
    "$forecast" "$@"
}

mkdir -p demo
run demo/store.zarr data swe swe_demo --out demo/store.zarr
# It has a package as soon as it was validated once; what is complete ends at once.
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
  run/train.log, metrics.jsonl   how the training went
  forecast.nc, scores.nc         CF files, for xarray, ncview, cdo
  vorticity_orthographic.png, vorticity_robinson.png, skill.png, spectrum.png
The training run in MLflow's page:
  ${forecast%forecast}mlflow ui --backend-store-uri sqlite:///demo/mlflow.db
  then http://127.0.0.1:5000/#/experiments?workflowType=machine_learning
END
