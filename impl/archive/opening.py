"""Opens the archive that the configuration names."""

from impl.archive.directory import open_directory
from impl.archive.face import Archive
from impl.archive.settings import ArchiveSettings
from impl.doors import Clock, Disk, Random


async def open_archive(settings: ArchiveSettings, clock: Clock, random: Random, disk: Disk) -> Archive:
    """The archive of these settings, whose kind is not none. Raises ArchiveRefused for one that cannot be used."""
    if settings.s3 is not None:
        from impl.archive.s3 import open_s3  # boto3 is a third of what a node loads, and most need none

        return await open_s3(settings.s3, clock, random)
    assert settings.directory is not None  # the configuration has one of the two
    return await open_directory(settings.directory, clock, random, disk=disk)
