# Flink as the compose file runs it: the release of `requirements/flink.lock`, the Kafka connector, and beside them the
# Python that jobs run in, with Tidemill installed. One image for JobManager, TaskManager and ZooKeeper, and for those of
# Tidemill's own services that put jobs on it.
FROM python:3.11.14-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/tidemill
ENV PATH=/opt/tidemill/bin:$PATH
WORKDIR /src

# The dependencies change seldom, so they are a layer of their own. Every file is checked against its hash.
COPY requirements/flink.lock requirements/
RUN pip install --no-deps --require-hashes -r requirements/flink.lock

COPY pyproject.toml README.md LICENSE ./
COPY tidemill tidemill
COPY connectors connectors
COPY streams streams
COPY graph graph
COPY training training
COPY serving serving
COPY tidemill_app tidemill_app
RUN pip install --no-deps .

# Flink's own jars and scripts, its configuration, and the connector, whose digest is checked.
RUN TIDEMILL_CACHE=/opt/flink/cache python -m tidemill_app.stack.flink_image /opt/flink && chmod -R a+rX /opt/flink


FROM python:3.11.14-slim-bookworm

COPY --from=build /opt/tidemill /opt/tidemill
COPY --from=build /opt/flink /opt/flink
RUN useradd --system --uid 10001 --home-dir /var/lib/flink flink \
    && install --directory --owner flink --group flink --mode 0700 /var/lib/flink /var/lib/tidemill
ENV PATH=/opt/tidemill/bin:$PATH PYTHONUNBUFFERED=1 \
    JAVA_HOME=/opt/flink/java FLINK_CONF_DIR=/opt/flink/conf FLINK_LIB_DIR=/opt/flink/lib FLINK_LOG_DIR=/tmp FLINK_PID_DIR=/tmp \
    PYTHONPATH=/opt/tidemill/lib/python3.11/site-packages
USER flink
WORKDIR /var/lib/flink
VOLUME /var/lib/flink /var/lib/tidemill
