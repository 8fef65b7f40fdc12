# A node with all that the harness breaks it with and puts beside it: a packet filter, a library that lies about the
# time, and moto's S3. Nodes themselves run in the image of the node, unless somebody is to lie to them.
ARG BASE_IMAGE
ARG NODE_IMAGE

FROM ${BASE_IMAGE} AS packages
LABEL org.amberio.image=packages
COPY build/wheels/rig /wheels
RUN for wheel in /wheels/*.whl; do python3 -m zipfile -e "$wheel" /packages || exit 1; done \
    && python3 -m compileall -q /packages

FROM ${NODE_IMAGE}
USER root
RUN command -v iptables-restore > /dev/null && ls /usr/lib/*/faketime/libfaketime.so.1 > /dev/null 2>&1 \
    || { apt-get update && apt-get install -y --no-install-recommends iptables libfaketime \
         && rm -rf /var/lib/apt/lists/*; }
COPY --from=packages /packages /opt/rig/packages
RUN ln -s /usr/lib/*/faketime/libfaketimeMT.so.1 /opt/rig/libfaketime.so
HEALTHCHECK NONE
ENTRYPOINT ["python3"]
CMD ["--version"]
