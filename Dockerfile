# One node. Its packages come as wheels that were made on the host (`make image` makes them and builds this), so the
# build needs no network:
#
#   make image
#   docker run --volume "$PWD/config.yaml:/etc/amberio/config.yaml:ro" --volume n1:/disk amberio --node n1
#
# The configuration says bind_addr 0.0.0.0:8080 and an advertise_addr by which the others reach the node; its disks lie
# below /disk. It must be readable for the user 10001, and for nobody else.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS packages
LABEL org.amberio.image=packages
COPY build/wheels/node /wheels
# a wheel is a zip file of what belongs into the directory of packages; so pip is not needed, which not every base has
RUN for wheel in /wheels/*.whl; do python3 -m zipfile -e "$wheel" /packages || exit 1; done \
    && find /packages -depth -type d \( -name tests -o -name '*.data' \) -exec rm -rf {} + \
    && python3 -m compileall -q /packages

FROM ${BASE_IMAGE}
RUN groupadd --gid 10001 amberio \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /disk --shell /usr/sbin/nologin amberio \
    && install --directory --owner amberio --group amberio --mode 700 /disk
COPY --from=packages /packages /opt/amberio/packages
COPY impl /opt/amberio/impl
RUN python3 -m compileall -q /opt/amberio/impl
ENV PYTHONPATH=/opt/amberio:/opt/amberio/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER amberio
WORKDIR /disk
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python3", "-c", \
  "import urllib.request as ask; ask.urlopen('http://127.0.0.1:8080/_/api/v1/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "impl.server"]
CMD ["--config", "/etc/amberio/config.yaml", "--node", "n1"]
