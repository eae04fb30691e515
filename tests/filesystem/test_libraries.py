"""pandas, pyarrow, dask and zarr read and write buckets."""

import asyncio
import os
from typing import Any

import fsspec
import pytest
from nats.aio.client import Client

from faststream_objstore.filesystem import ObjectStoreFileSystem
from faststream_objstore.store import ObjectStore

# They are large; continuous integration installs them for one Python.
pytestmark = [
    pytest.mark.once,
    # What they have to say of each other is theirs.
    pytest.mark.filterwarnings("default"),
]

MIB = 1024 * 1024
# A file of 1 GiB takes a minute: PARQUET_MIB=1024.
PARQUET_MIB = int(os.environ.get("PARQUET_MIB", "32"))
ROWS_OF_A_GROUP = 65_536


class Counted(ObjectStoreFileSystem):
    """Counts what is read."""

    transferred = 0

    async def read_version(self, details: dict[str, Any], start: int, end: int) -> bytes:
        data = await super().read_version(details, start, end)
        self.transferred += len(data)
        return data

    async def _cat_file(self, path: str, *args: Any, **options: Any) -> bytes:
        data = await super()._cat_file(path, *args, **options)
        self.transferred += len(data)
        return data


def test_pandas_writes_and_reads_parquet_and_csv(bucket: str, options: dict[str, Any]) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"city": ["Ulm", "Köln"], "rain": [1.5, 2.5]})

    frame.to_parquet(f"objstore://{bucket}/rain.parquet", storage_options=options)
    read = pandas.read_parquet(f"objstore://{bucket}/rain.parquet", storage_options=options)
    assert read.to_dict("list") == {"city": ["Ulm", "Köln"], "rain": [1.5, 2.5]}

    frame.to_csv(f"objstore://{bucket}/rain.csv", index=False, storage_options=options)
    read = pandas.read_csv(f"objstore://{bucket}/rain.csv", storage_options=options)
    assert read.to_dict("list") == {"city": ["Ulm", "Köln"], "rain": [1.5, 2.5]}


async def test_pandas_reads_in_a_thread_beside_a_handler(
    bucket: str, nats_client: Client
) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    store = await ObjectStore.bind(nats_client, bucket)
    fs = store.filesystem()

    def work() -> Any:
        pandas.DataFrame({"a": [1, 2]}).to_parquet(f"{bucket}/a.parquet", filesystem=fs)
        return pandas.read_parquet(f"{bucket}/a.parquet", filesystem=fs)

    read = await asyncio.to_thread(work)
    assert read["a"].tolist() == [1, 2]


def test_pyarrow_writes_and_scans_a_data_set(fs: ObjectStoreFileSystem, bucket: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    dataset = pytest.importorskip("pyarrow.dataset")
    table = pyarrow.table({"year": [2025, 2025, 2026], "sold": [1, 2, 3]})

    dataset.write_dataset(
        table,
        f"{bucket}/sales",
        filesystem=fs,
        format="parquet",
        partitioning=dataset.partitioning(pyarrow.schema([("year", pyarrow.int64())])),
    )
    found = dataset.dataset(
        f"{bucket}/sales",
        filesystem=fs,
        format="parquet",
        partitioning=dataset.partitioning(pyarrow.schema([("year", pyarrow.int64())])),
    )
    assert sorted(fs.ls(f"{bucket}/sales", detail=False)) == [
        f"{bucket}/sales/2025",
        f"{bucket}/sales/2026",
    ]
    read = found.to_table(filter=dataset.field("year") == 2025).to_pydict()
    assert sorted(read["sold"]) == [1, 2]


@pytest.mark.timeout(600)
def test_one_column_of_many_transfers_little_more_than_itself(
    bucket: str, options: dict[str, Any]
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    numpy = pytest.importorskip("numpy")
    fs = Counted(**options, skip_instance_cache=True)
    path = f"{bucket}/wide.parquet"
    columns, rows = 64, ROWS_OF_A_GROUP
    groups = max(1, PARQUET_MIB * MIB // (columns * rows * 8))
    random = numpy.random.default_rng(1)
    names = [f"c{number}" for number in range(columns)]
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in names])
    wanted = 0.0
    with (
        fs.open(path, "wb") as file,
        parquet.ParquetWriter(
            file, schema, compression="none", use_dictionary=False
        ) as writer,
    ):
        for _ in range(groups):
            arrays = {name: random.random(rows) for name in names}
            wanted += float(arrays["c7"].sum())
            writer.write_table(pyarrow.table(arrays, schema=schema), row_group_size=rows)

    size = fs.info(path)["size"]
    assert size >= PARQUET_MIB * MIB
    fs.transferred = 0
    with fs.open(path) as file:
        read = parquet.read_table(file, columns=["c7"])
    assert float(read["c7"].to_numpy().sum()) == pytest.approx(wanted)
    print(f"{fs.transferred} of {size} bytes: {fs.transferred / size:.2%}")
    assert fs.transferred < 0.05 * size

    # As pandas and data sets open it.
    fs.transferred = 0
    read = parquet.read_table(path, columns=["c7"], filesystem=fs)
    assert read.num_rows == groups * rows
    print(f"{fs.transferred} of {size} bytes: {fs.transferred / size:.2%}")
    assert fs.transferred < 0.05 * size
    fs.close()


def test_dask_writes_and_reads_partitions(bucket: str, options: dict[str, Any]) -> None:
    pandas = pytest.importorskip("pandas")
    dataframe = pytest.importorskip("dask.dataframe")
    frame = dataframe.from_pandas(pandas.DataFrame({"a": range(100)}), npartitions=4)
    url = f"objstore://{bucket}/parts"

    frame.to_parquet(url, storage_options=options)
    read = dataframe.read_parquet(url, storage_options=options)
    assert int(read["a"].sum().compute(scheduler="threads")) == 4950


def test_zarr_writes_and_reads_an_array(bucket: str, options: dict[str, Any]) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    url = f"objstore://{bucket}/array.zarr"

    array = zarr.create_array(
        store=url, shape=(20, 20), chunks=(10, 10), dtype="i4", storage_options=options
    )
    array[:] = 7
    array[3, 4] = 8
    again = zarr.open_array(url, mode="r", storage_options=options)
    assert (int(again[3, 4]), int(again[19, 19]), int(again[:].sum())) == (8, 7, 2801)
    fs = fsspec.filesystem("objstore", **options)
    assert len([one for one in fs.find(f"{bucket}/array.zarr") if "/c/" in one]) == 4
