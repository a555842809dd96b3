"""Those who were woken together go on one after the other."""

import asyncio

from headnode.cluster.turns import take_turn


def test_in_each_round_of_the_loop_one_goes_on():
    """A hundred who wait for the same thing leave the loop free after each of them."""

    async def play():
        round_number, rounds, woken = 0, [], asyncio.Event()

        def count():
            nonlocal round_number
            round_number += 1
            asyncio.get_running_loop().call_soon(count)

        async def follower():
            await woken.wait()
            await take_turn()
            rounds.append(round_number)

        followers = [asyncio.create_task(follower()) for _ in range(100)]
        await asyncio.sleep(0)
        count()
        woken.set()
        await asyncio.gather(*followers)
        return rounds

    rounds = asyncio.run(play())
    assert len(set(rounds)) == len(rounds) == 100
    assert rounds == sorted(rounds)


def test_one_who_is_cancelled_lets_the_others_go_on():
    """A task that is cleared while it waits for its turn keeps nobody back."""

    async def play():
        done = []

        async def follower(name):
            await take_turn()
            done.append(name)

        followers = [asyncio.create_task(follower(name)) for name in "abc"]
        await asyncio.sleep(0)
        followers[0].cancel()
        followers[1].cancel()
        await asyncio.wait_for(asyncio.gather(*followers, return_exceptions=True), 5)
        return done

    assert asyncio.run(play()) == ["c"]


def test_each_loop_has_turns_of_its_own():
    """Notebooks and tests run one loop after the other."""

    async def both():
        # A lock belongs to the loop in which two have met at it.
        await asyncio.wait_for(asyncio.gather(take_turn(), take_turn()), 5)

    for _ in range(2):
        asyncio.run(both())
