"""What each method of AMQP 0-9-1 on a channel does: a table from pamqp's classes to functions of a port."""

from collections.abc import Callable
from typing import TypeVar

from pamqp import commands

from amqtask.devbroker.arguments import QueueSpec
from amqtask.devbroker.errors import command_invalid, not_found, not_implemented
from amqtask.devbroker.exchange import Binding, DestinationKind, ExchangeSpec
from amqtask.devbroker.frames import Method, made
from amqtask.devbroker.port import ChannelPort
from amqtask.devbroker.replyto import PREFIX, PSEUDO_QUEUE
from amqtask.devbroker.tables import Table

M = TypeVar("M", bound=Method)
Handler = Callable[[ChannelPort, M], None]


def handle(port: ChannelPort, method: Method) -> None:
    """Do what a client asks. Raises SoftError and HardError."""
    handler = _HANDLERS.get(type(method))
    if handler is None:
        raise command_invalid(f"unexpected method {method.name}")
    handler(port, method)


def _clean(name: str) -> str:
    """RabbitMQ drops line ends from the names of what is declared."""
    return name.replace("\r", "").replace("\n", "")


def _flow(port: ChannelPort, method: commands.Channel.Flow) -> None:
    if not method.active:
        raise not_implemented("active=false")
    port.send(commands.Channel.FlowOk(True))


def _exchange_declare(port: ChannelPort, method: commands.Exchange.Declare) -> None:
    spec = ExchangeSpec(
        name=_clean(method.exchange),
        kind=method.exchange_type,
        durable=method.durable,
        auto_delete=method.auto_delete,
        internal=method.internal,
        arguments=_table(method.arguments),
    )
    port.open.vhost.declare_exchange(spec, passive=method.passive)
    if not method.nowait:
        port.send(commands.Exchange.DeclareOk())


def _exchange_delete(port: ChannelPort, method: commands.Exchange.Delete) -> None:
    port.open.vhost.delete_exchange(_clean(method.exchange), if_unused=method.if_unused)
    if not method.nowait:
        port.send(commands.Exchange.DeleteOk())


def _exchange_bind(port: ChannelPort, method: commands.Exchange.Bind) -> None:
    port.open.vhost.bind(_exchange_binding(method))
    if not method.nowait:
        port.send(commands.Exchange.BindOk())


def _exchange_unbind(port: ChannelPort, method: commands.Exchange.Unbind) -> None:
    port.open.vhost.unbind(_exchange_binding(method))
    if not method.nowait:
        port.send(commands.Exchange.UnbindOk())


def _exchange_binding(method: commands.Exchange.Bind | commands.Exchange.Unbind) -> Binding:
    return _binding(method.source, "exchange", method.destination, method.routing_key, _table(method.arguments))


def _queue_declare(port: ChannelPort, method: commands.Queue.Declare) -> None:
    channel = port.open
    name = _clean(method.queue)
    if name == PSEUDO_QUEUE or name.startswith(PREFIX):
        if name != PSEUDO_QUEUE and not channel.session.broker.replies.is_open(name):
            raise not_found(f"no queue '{name}' in vhost '{channel.vhost.name}'")
        messages, consumers = 0, 1
    else:
        spec = QueueSpec(
            name=channel.queue_name("") if method.passive and not name else name,
            durable=method.durable,
            exclusive=method.exclusive,
            auto_delete=method.auto_delete,
            arguments=_table(method.arguments),
        )
        queue = channel.vhost.declare_queue(spec, passive=method.passive, by=channel.session)
        name = channel.last_queue = queue.name
        messages, consumers = queue.message_count, len(queue.consumers)
    if not method.nowait:
        port.send(made(commands.Queue.DeclareOk, queue=name, message_count=messages, consumer_count=consumers))


def _queue_bind(port: ChannelPort, method: commands.Queue.Bind) -> None:
    port.open.vhost.bind(_queue_binding(port, method), by=port.open.session)
    if not method.nowait:
        port.send(commands.Queue.BindOk())


def _queue_unbind(port: ChannelPort, method: commands.Queue.Unbind) -> None:
    port.open.vhost.unbind(_queue_binding(port, method), by=port.open.session)
    port.send(commands.Queue.UnbindOk())


def _queue_binding(port: ChannelPort, method: commands.Queue.Bind | commands.Queue.Unbind) -> Binding:
    name = port.open.queue_name(method.queue)
    # Without a queue and a key, the key is the name of the queue that was declared last.
    key = method.routing_key if method.queue or method.routing_key else name
    return _binding(method.exchange, "queue", name, key, _table(method.arguments))


def _binding(source: str, kind: DestinationKind, name: str, key: str, arguments: Table) -> Binding:
    return Binding(source=source, destination=(kind, name), routing_key=key, arguments=arguments)


def _queue_purge(port: ChannelPort, method: commands.Queue.Purge) -> None:
    channel = port.open
    count = channel.vhost.queue(channel.queue_name(method.queue), channel.session).purge()
    if not method.nowait:
        port.send(commands.Queue.PurgeOk(count))


def _queue_delete(port: ChannelPort, method: commands.Queue.Delete) -> None:
    channel = port.open
    count = channel.vhost.delete_queue(
        channel.queue_name(method.queue), if_unused=method.if_unused, if_empty=method.if_empty, by=channel.session
    )
    if not method.nowait:
        port.send(commands.Queue.DeleteOk(count))


def _qos(port: ChannelPort, method: commands.Basic.Qos) -> None:
    port.open.qos(method.prefetch_count, is_global=method.global_, size=method.prefetch_size)
    port.send(commands.Basic.QosOk())


def _consume(port: ChannelPort, method: commands.Basic.Consume) -> None:
    consumer = port.open.consume(
        method.queue,
        tag=method.consumer_tag,
        no_ack=method.no_ack,
        exclusive=method.exclusive,
        arguments=_table(method.arguments),
    )
    if not method.nowait:
        port.send(made(commands.Basic.ConsumeOk, consumer_tag=consumer.tag))
    port.open.start(consumer)


def _cancel(port: ChannelPort, method: commands.Basic.Cancel) -> None:
    port.open.cancel(method.consumer_tag or "")
    if not method.nowait:
        port.send(made(commands.Basic.CancelOk, consumer_tag=method.consumer_tag))


def _get(port: ChannelPort, method: commands.Basic.Get) -> None:
    got = port.open.get(method.queue, no_ack=method.no_ack)
    if got is None:
        port.send(commands.Basic.GetEmpty())
        return
    tag, redelivered, message, left = got
    answer = made(
        commands.Basic.GetOk,
        delivery_tag=tag,
        redelivered=redelivered,
        exchange=message.exchange,
        routing_key=message.routing_key,
        message_count=left,
    )
    port.send_content(answer, message)


def _nack(port: ChannelPort, method: commands.Basic.Nack) -> None:
    port.open.nack(method.delivery_tag, multiple=method.multiple, requeue=method.requeue)


def _reject(port: ChannelPort, method: commands.Basic.Reject) -> None:
    port.open.reject(method.delivery_tag or 0, requeue=method.requeue)


def _recover(port: ChannelPort, method: commands.Basic.Recover) -> None:
    port.open.recover(requeue=method.requeue)
    port.send(commands.Basic.RecoverOk())


def _recover_async(port: ChannelPort, method: commands.Basic.RecoverAsync) -> None:
    port.open.recover(requeue=method.requeue)


def _confirm_select(port: ChannelPort, method: commands.Confirm.Select) -> None:
    port.open.select_confirms()
    if not method.nowait:
        port.send(commands.Confirm.SelectOk())


def _tx_select(port: ChannelPort, method: commands.Tx.Select) -> None:
    port.open.select_transaction()
    port.send(commands.Tx.SelectOk())


def _tx_commit(port: ChannelPort, method: commands.Tx.Commit) -> None:
    port.open.commit()
    port.send(commands.Tx.CommitOk())


def _tx_rollback(port: ChannelPort, method: commands.Tx.Rollback) -> None:
    port.open.rollback()
    port.send(commands.Tx.RollbackOk())


def _table(arguments: object) -> Table:
    return arguments if isinstance(arguments, dict) else {}


_HANDLERS: dict[type[Method], Callable[..., None]] = {
    commands.Channel.Flow: _flow,
    commands.Exchange.Declare: _exchange_declare,
    commands.Exchange.Delete: _exchange_delete,
    commands.Exchange.Bind: _exchange_bind,
    commands.Exchange.Unbind: _exchange_unbind,
    commands.Queue.Declare: _queue_declare,
    commands.Queue.Bind: _queue_bind,
    commands.Queue.Unbind: _queue_unbind,
    commands.Queue.Purge: _queue_purge,
    commands.Queue.Delete: _queue_delete,
    commands.Basic.Qos: _qos,
    commands.Basic.Consume: _consume,
    commands.Basic.Cancel: _cancel,
    commands.Basic.Get: _get,
    commands.Basic.Nack: _nack,
    commands.Basic.Reject: _reject,
    commands.Basic.Recover: _recover,
    commands.Basic.RecoverAsync: _recover_async,
    commands.Confirm.Select: _confirm_select,
    commands.Tx.Select: _tx_select,
    commands.Tx.Commit: _tx_commit,
    commands.Tx.Rollback: _tx_rollback,
}
