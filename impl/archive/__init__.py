"""The cloud behind the cluster: a bucket, or a directory that stands for one."""
