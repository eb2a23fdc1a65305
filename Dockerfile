# Worker image of the Beam jobs, and launcher of their flex templates: docs/cloud.md.
# Without an entry point of its own: the base image's /opt/apache/beam/boot starts workers.
FROM apache/beam_python3.11_sdk:2.77.0

COPY --from=gcr.io/dataflow-templates-base/python311-template-launcher-base:latest \
  /opt/google/dataflow/python_template_launcher \
  /opt/google/dataflow/python_template_launcher

WORKDIR /persoma
# The lock is complete: nothing is resolved, and the layer stays when the code changes.
COPY requirements.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes \
  --requirement requirements.txt
COPY setup.py pyproject.toml ./
COPY pipelines pipelines
COPY tasks tasks
COPY persoma_tf persoma_tf
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && pip check

# Large arrays in huge pages: JAX and TensorFlow ask for fresh ones at every step.
ENV GLIBC_TUNABLES=glibc.malloc.hugetlb=1

# Models in the image: workers need no network beyond the bucket.
ENV PERSOMA_CACHE=/persoma/assets
RUN python -m persoma_tf.assets all-MiniLM-L6-v2 smollm2-135m-instruct

# The launcher runs a job by its file: its folder, which has an `inspect`, must not hide
# Python's own modules.
ENV PYTHONSAFEPATH=1

# Which job a flex template of this image starts: --build-arg=JOB=batch_predict.
ARG JOB=build_histories
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/persoma/pipelines/${JOB}.py
